"""`dlq export` and `dlq import`."""

import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import click

from consumer.cli.common import FAILED, WRONG_USAGE, complain, json_option, print_json, settings_or_exit
from consumer.cli.dlq import asking, printing
from consumer.cli.dlq.desk import at_desk
from consumer.cli.dlq.exportfile import STDOUT, ExportError, ExportFile
from consumer.cli.dlq.memory import Memory
from consumer.cli.dlq.operation import Operation, carry_out
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
from consumer.deadletters.audit import Audit, AuditError, audit_to
from consumer.deadletters.browse import Desk
from consumer.deadletters.envelope import EnvelopeError
from consumer.deadletters.sweep import Control, Tally
from consumer.settings import Settings
from consumer.terminal import echo


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
    try:
        out = ExportFile(file)
    except ExportError as error:
        raise click.UsageError(str(error)) from error
    facts: dict[str, object] = {"filter": wanted.as_dict(), "limit": limit, "file": str(file)}
    settings = settings_or_exit()
    try:
        tally, operation = _export(
            settings, out, audit, facts, lambda desk: transfer.export(desk, wanted, limit, out.write)
        )
    except (AuditError, ExportError) as error:
        complain(str(error))
        sys.exit(FAILED)
    if as_json:
        print_json(tally.as_dict(operation))
    elif file != STDOUT:
        echo(f"{printing.orders(tally.done)} exported to {file}")
    if tally.stopped:
        complain(tally.stopped)
    sys.exit(0 if tally.complete else FAILED)


def _export(
    settings: Settings,
    out: ExportFile,
    audit: str,
    facts: dict[str, object],
    work: Callable[[Desk], Awaitable[Tally]],
) -> tuple[Tally, str]:
    """Do `work`, which writes to `out`; raises AuditError, ExportError, or SystemExit with what was said already."""
    with audit_to(audit, "export") as record, out:
        record.started(0, **facts)
        try:
            tally = at_desk(settings, work)
            out.finish()
        except BaseException:
            record.ended(matched=0, done=0, failed=0, stopped="not completed")
            raise
        record.ended(matched=tally.matched, done=tally.done, failed=0, stopped=tally.stopped)
        return tally, record.operation


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
        if planned.shared:
            complain(f"nothing was imported, since it is not known which are there already: {printing.SHARED}")
            sys.exit(FAILED)
        if planned.present:
            echo(f"{printing.orders(len(planned.present))} already there, passed over", err=True)
        if dry_run:
            asking.print_dry_run("import", planned.summary, as_json=as_json)
            return
        if not planned.summary.count or not asking.agreed("import", planned.summary, yes=yes):
            asking.print_untouched(planned.summary, as_json=as_json)
            return

        async def work(desk: Desk, record: Audit, control: Control, _: Memory | None) -> None:
            await transfer.import_letters(desk, planned, lines(), record, control)

        facts: dict[str, object] = {"file": str(file)}
        tally, operation = carry_out(
            settings, Operation("import", planned.summary.count, audit, facts, why=str(file)), work
        )
    if as_json:
        print_json(tally.as_dict(operation) | {"present": len(planned.present)})
    else:
        asking.print_done("imported", tally)
    sys.exit(0 if tally.complete else FAILED)


@contextmanager
def _rereadable(file: Path) -> Iterator[Callable[[], Iterator[bytes]]]:
    """The lines of `file` as often as they are wanted; those of a pipe are put aside in a file without a name first."""
    with ExitStack() as stack:
        try:
            opened: IO[bytes] = sys.stdin.buffer if file == STDOUT else stack.enter_context(file.open("rb"))
            if not opened.seekable():
                aside = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(opened, aside)
                opened = aside
        except OSError as error:
            complain(f"nothing was imported: {file} cannot be read or put aside: {error.strerror}")
            sys.exit(FAILED)

        def lines() -> Iterator[bytes]:
            try:
                opened.seek(0)
                yield from opened
            except OSError as error:
                raise EnvelopeError(f"{file} cannot be read: {error.strerror}") from error

        yield lines
