"""`dlq export` and `dlq import`."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from consumer.app import until_signalled
from consumer.cli.common import FAILED, WRONG_USAGE, complain, json_option, print_json, settings_or_exit
from consumer.cli.dlq import asking, printing
from consumer.cli.dlq.desk import at_desk
from consumer.cli.dlq.memory import memory
from consumer.cli.dlq.options import (
    audit_fits,
    audit_option,
    chosen,
    dry_run_option,
    filter_options,
    limit_option,
    yes_option,
)
from consumer.deadletters import transfer
from consumer.deadletters.audit import Audit, audit_to
from consumer.deadletters.browse import Desk
from consumer.deadletters.envelope import EnvelopeError
from consumer.deadletters.sweep import Control, Tally
from consumer.settings import Settings
from consumer.terminal import echo

STDOUT = Path("-")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-")
@filter_options
@limit_option
@click.option("--force", is_flag=True, help="Write over a FILE that has something in it.")
@audit_option
@json_option
def export(file: Path, limit: int | None, force: bool, audit: str, as_json: bool, **given: Any) -> None:
    """Write dead letters to FILE (or stdout), one line of JSON each, as `import` takes them. They stay where they are.

    The lines hold the whole events, customers' data included: FILE is for its owner only.
    """
    wanted = chosen((), given)
    if file == STDOUT and (as_json or audit == "-"):
        raise click.UsageError("expected a FILE: stdout cannot take the letters and something else")
    audit_fits(audit, as_json=as_json)
    if not force and file.exists() and file.stat().st_size:
        raise click.UsageError(f"{file} has something in it; --force writes over it")

    async def work(desk: Desk) -> tuple[Tally, str]:
        with audit_to(audit, "export") as record, _output(file) as out:
            record.started(0, filter=wanted.as_dict(), limit=limit, file=str(file))
            tally = await transfer.export(desk, wanted, limit, lambda line: out.write(f"{line}\n"))
            record.ended(matched=tally.matched, done=tally.done, failed=0)
            return tally, record.operation

    tally, operation = at_desk(settings_or_exit(), work)
    if as_json:
        print_json(tally.as_dict(operation))
    elif file != STDOUT:
        echo(f"{printing.orders(tally.done)} exported to {file}")


@contextmanager
def _output(file: Path) -> Iterator[IO[str]]:
    """`file`, complete or as it was before."""
    if file == STDOUT:
        yield sys.stdout
        return
    with tempfile.NamedTemporaryFile(
        "w", dir=file.absolute().parent, prefix=file.name, delete=False
    ) as out:  # mode 600
        try:
            yield out
            out.flush()
            os.fsync(out.fileno())
            Path(out.name).replace(file)
        except BaseException:
            Path(out.name).unlink(missing_ok=True)
            raise


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@yes_option
@dry_run_option
@audit_option
@json_option
def import_(file: Path, yes: bool, dry_run: bool, audit: str, as_json: bool) -> None:
    """Bring exported dead letters in FILE (- for stdin) into the dead-letter queue, each confirmed.

    Letters that are there already are passed over, so that an import that broke off can be run again.
    """
    audit_fits(audit, as_json=as_json)
    settings = settings_or_exit()
    with _rereadable(file) as lines:
        try:
            planned = at_desk(settings, lambda desk: transfer.plan_import(desk, lines))
        except EnvelopeError as error:
            complain(f"nothing was imported: {error}")
            sys.exit(WRONG_USAGE)
        if planned.present:
            echo(f"{printing.orders(len(planned.present))} already there, passed over", err=True)
        if dry_run:
            asking.print_dry_run("import", planned.summary, as_json=as_json)
            return
        if not planned.summary.count or not asking.agreed("import", planned.summary, yes=yes):
            asking.print_untouched(planned.summary, as_json=as_json)
            return
        tally, operation = _import(settings, planned, lines, file, audit)
    if as_json:
        print_json(tally.as_dict(operation) | {"present": len(planned.present)})
    else:
        asking.print_done("imported", tally)
    sys.exit(0 if tally.complete else FAILED)


def _import(
    settings: Settings, planned: transfer.ImportPlan, lines: Callable[[], Iterable[bytes]], file: Path, audit: str
) -> tuple[Tally, str]:
    tally = Tally(planned.summary.count)

    async def work(desk: Desk) -> str:
        async with memory(settings) as remembered:
            with audit_to(audit, "import") as record:
                if remembered is not None:
                    remembered.listen(record, str(file))
                return await imported(desk, record)

    async def imported(desk: Desk, record: Audit) -> str:
        record.started(tally.matched, file=str(file))

        async def stoppable(stop: asyncio.Event) -> None:
            nonlocal tally
            control = Control(stop)
            with printing.progress("import", control):
                tally = await transfer.import_letters(desk, planned, lines(), record, control)

        await until_signalled(stoppable)
        record.ended(matched=tally.matched, done=tally.done, failed=tally.failed, stopped=tally.stopped)
        return record.operation

    operation = at_desk(settings, work)  # sets the tally
    return tally, operation


@contextmanager
def _rereadable(file: Path) -> Iterator[Callable[[], Iterable[bytes]]]:
    """The lines of `file` as often as they are wanted; stdin is put aside in a file without a name first."""
    with tempfile.TemporaryFile() if file == STDOUT else file.open("rb") as opened:
        if file == STDOUT:
            shutil.copyfileobj(sys.stdin.buffer, opened)

        def lines() -> Iterable[bytes]:
            opened.seek(0)
            return opened

        yield lines
