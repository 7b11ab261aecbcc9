"""`neuroon-consumer ledger`: what was sent."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TextIO

import click
from rich.progress import Progress, TextColumn
from rich.table import Column, Table

from consumer.adapters.ledger import Entry, Store, Tally, Wanted
from consumer.adapters.link import LINK_ERRORS, connect, describe
from consumer.balance import InQueues, ask_queues, balance, by_day, discrepancies, longest_flight, moving
from consumer.cli.common import FAILED, WRONG_USAGE, complain, json_option, print_json, settings_or_exit
from consumer.cli.store import at_store
from consumer.core.delivery import read_stamp, stamp
from consumer.core.shop import Shop, Shops
from consumer.paidorders import PaidOrdersError, read_paid_orders
from consumer.reconcile import ALL_GROUPS, Reconciliation, reconcile
from consumer.settings import Settings, ShopsFileError, values
from consumer.terminal import console, echo

STATES = ("delivered", "duplicate", "unattributed", "waiting", "held", "dead", "discarded")


@click.group()
def ledger() -> None:
    """What was sent: list orders, hold a list against them, forget old ones, and close the account."""


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Unix seconds from "2026-01-31T03:00:00Z", "2h" or "2h ago"."""
    if value is None:
        return None
    try:
        return time.time() - values.duration(value.removesuffix("ago").strip())
    except ValueError:
        found = read_stamp(value.strip())
    if found is None:
        raise click.BadParameter("expected a time such as 2026-01-31T03:00:00Z, or how long ago such as 2h or 3d")
    return found


@ledger.command("list")
@click.option("--shop", metavar="SHOP", help="Only of this shop.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--reason", metavar="REASON", help="Only with this reason, such as unavailable or refused.")
@click.option("--since", callback=_moment, metavar="WHEN", help="Only changed since: 2026-01-31T03:00:00Z, or 2h ago.")
@click.option("--until", callback=_moment, metavar="WHEN", help="Only changed until then.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="No more than so many.")
@json_option
def list_orders(limit: int, as_json: bool, **given: Any) -> None:
    """Orders, the one that changed last first."""

    async def look(store: Store) -> list[Entry]:
        return await store.entries(Wanted(**given), limit)

    entries = at_store(settings_or_exit(), look)
    if as_json:
        for entry in entries:
            print_json(_told(entry))
        return
    ids = (Column(name, overflow="fold") for name in ("order", "shop"))
    table = Table(*ids, "state", "reason", "status", "failed tries", "since", "due")
    for each in map(_told, entries):
        names = ("orderId", "shopId", "state", "reason", "status", "attempts", "at", "due")
        table.add_row(*("" if each[name] is None else str(each[name]) for name in names))
    console().print(table)


def _told(entry: Entry) -> dict[str, object]:
    standing = entry.standing
    return {
        "orderId": entry.order,
        "shopId": entry.shop or None,
        "state": standing.state,
        "reason": entry.reason,
        "status": entry.status,
        "attempts": entry.attempts,
        "lastError": entry.last_error,
        "at": stamp(standing.at),
        "due": None if standing.due is None else stamp(standing.due),
        "receivedAt": None if entry.received_at is None else stamp(entry.received_at),
        "duplicates": entry.duplicate,
    }


@ledger.command()
@click.option("--older-than", required=True, metavar="AGE", help="Such as 90d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
@json_option
def prune(older_than: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Forget orders that came to their end so long ago; those that wait or rest in the dead letters stay.

    A forgotten order whose event comes again is posted again, and Neuroon drops it.
    """
    try:
        before = time.time() - values.duration(older_than)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    settings = settings_or_exit()
    matched = at_store(settings, lambda store: store.prune(before, dry_run=True))
    if not (dry_run or yes or not matched):
        click.confirm(f"Forget {matched} orders that ended before {stamp(before)}?", abort=True, err=True)
    done = 0 if dry_run else at_store(settings, lambda store: store.prune(before), changes=True)
    if as_json:
        print_json({"matched": matched, "pruned": done})
    else:
        echo(f"{matched} orders would be forgotten" if dry_run else f"{done} orders forgotten")


@ledger.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the ledger's tables up to date ahead of a start, and make them where there are none.

    A start does the same. In PostgreSQL it runs in steps, beside consumers and a shop that write; if it is stopped, the
    next one goes on. Each step is printed to stderr.
    """
    settings = settings_or_exit()
    steps: list[str] = []

    def tell(step: str) -> None:
        steps.append(step)
        echo(step, err=True)

    at_store(settings, lambda store: store.migrate(tell), makes=True)
    if as_json:
        print_json({"steps": steps})
    else:
        echo(f"up to date after {len(steps)} steps" if steps else "up to date")


@ledger.command("reconcile")
@click.argument("file", type=click.File(encoding="utf-8", errors="surrogateescape"))
@click.option("--order-column", metavar="NAME", help="Column of the order id; guessed by its name if not given.")
@click.option("--amount-column", metavar="NAME", help="Column of the amount, for the sums.")
@click.option("--currency-column", metavar="NAME", help="Column of the currency.")
@click.option("--shop-column", metavar="NAME", help="Column of the shop's id or alias.")
@click.option("--shop", metavar="SHOP", help="The shop of all orders, where no column tells it.")
@json_option
def reconcile_file(file: TextIO, shop: str | None, as_json: bool, **columns: str | None) -> None:
    """Hold FILE, the shop's own list of paid orders, against the ledger; "-" is stdin.

    CSV with a line of column names, or JSON lines. Exit status 1 if an order was never seen.
    """
    settings = settings_or_exit()
    try:
        given = {name.removesuffix("_column"): value for name, value in columns.items()}
        found, orders = read_paid_orders(file, given)
        shop_of = _shop_finder(settings, shop, has_column=found.shop is not None)
        if not as_json:
            used = ", ".join(f"{kind} in {name}" for kind in ("order", "amount", "currency", "shop")
                             if (name := getattr(found, kind)))  # fmt: skip
            echo(f"columns: {used}", err=True)
        with _counting() as tell:
            result = at_store(settings, lambda store: reconcile(store, orders, shop_of, tell))
    except PaidOrdersError as error:
        complain(str(error))
        sys.exit(WRONG_USAGE)
    if as_json:
        print_json(result.as_dict())
    else:
        _show_reconciliation(result)
    sys.exit(0 if result.complete else FAILED)


def _shop_finder(settings: Settings, shop: str | None, *, has_column: bool) -> Callable[[str | None], str]:
    """What gives the shop's id for the name in the list; a usage error where nothing tells the shop."""
    try:
        shops = settings.shops_source(os.environ).shops
    except ShopsFileError as error:
        complain(f"{error}; going on without shops")
        shops = Shops(())
    only = shop or (shops.shops[0].id if len(shops.shops) == 1 else None)
    if only is None and not has_column:
        raise click.UsageError("expected --shop, or a column that tells each order's shop")
    known: dict[str, str] = {}

    def shop_of(name: str | None) -> str:
        if shop is not None or name is None:
            return only or ""
        if name not in known:
            found = shops.find(name)
            # One shop, and a column that calls it otherwise (a store view, a domain): there is no other it could be.
            known[name] = found.id if isinstance(found, Shop) else (only or name)
        return known[name]

    return shop_of


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """Show a number of rows on stderr if it is a terminal."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows"))
    with Progress(*columns, console=console(err=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("reconciling", total=None)
        yield lambda rows: progress.update(task, completed=rows)


def _show_reconciliation(result: Reconciliation) -> None:
    table = Table("", "orders", "amount")
    for group in ALL_GROUPS:
        sums = result.sums.get(group, {})
        money = ", ".join(f"{amount} {code}".strip() for code, amount in sorted(sums.items()))
        table.add_row("never seen" if group == "neverSeen" else group, f"{result.counts[group]:,}", money)
    table.add_row("all", f"{result.rows:,}", "")
    console().print(table)
    for order in result.missing:
        echo(f"never seen: {order}")
    if result.counts["neverSeen"] > len(result.missing):
        echo(f"and {result.counts['neverSeen'] - len(result.missing):,} more")


@ledger.command("balance")
@click.option("--shop", metavar="SHOP", help="Only of this shop; then from the ledger alone.")
@json_option
def balance_sheet(shop: str | None, as_json: bool) -> None:
    """Close the account: what was received is delivered, waiting, dead and so on; a difference is shown.

    The totals compare the ledger with the queues: an order in flight between the two is booked as such, and so is a
    message that the broker dead-lettered itself. Per shop and day the ledger is asked alone, because queues do not tell
    shops apart. Exit status 1 if there is a difference.
    """
    settings = settings_or_exit()

    async def look(store: Store) -> tuple[list[Tally], list[InQueues]]:
        async with AsyncExitStack() as stack:
            count = None if shop is not None else await _counter(settings, stack)
            queues = [] if count is None else [await count()]
            longest = longest_flight(settings.consumer_request_timeout)
            tallies = await store.tallies(moving(time.time(), longest))
            queues += [] if count is None else [await count()]
        return [each for each in tallies if shop in {None, each.shop}], queues

    tallies, queues = at_store(settings, look)
    total = balance(tallies, queues).as_dict()
    disagreements = dict(discrepancies(tallies, queues[-1])) if queues else {}
    if as_json:
        told = {"main": queues[-1].main, "retry": queues[-1].retry, "dead": queues[-1].dead} if queues else None
        print_json({**total, "queues": told, "disagreements": disagreements, "days": by_day(tallies)})
    else:
        _show_balance(total, by_day(tallies), disagreements)
    sys.exit(FAILED if total["difference"] else 0)


async def _counter(settings: Settings, stack: AsyncExitStack) -> Callable[[], Awaitable[InQueues]] | None:
    """What counts the queues' messages; None, and a word about it, if the broker cannot be asked."""
    try:
        async with asyncio.timeout(30):
            connection = await connect(settings.amqp_url.get_secret_value(), "neuroon-consumer balance")
        await stack.enter_async_context(connection)
        await ask_queues(connection, settings.routes)
    except LINK_ERRORS as error:
        complain(f"the broker cannot be asked, so this is the ledger alone: {describe(error)}")
        return None
    return lambda: ask_queues(connection, settings.routes)


def _show_balance(total: dict[str, int], days: list[dict[str, object]], disagreements: dict[str, int]) -> None:
    names = list(total)
    table = Table(Column("shop", overflow="fold"), "day", *names)
    for each in days:
        table.add_row(str(each["shopId"] or "-"), str(each["day"]), *(str(each[name]) for name in names))
    table.add_section()
    table.add_row("all", "", *(str(total[name]) for name in names))
    console().print(table)
    for name, count in disagreements.items():
        echo(f"{name}: {count}")
