"""`neuroon-consumer convert`."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from consumer.app import open_intake
from consumer.cli.common import exit_for, json_option, print_json, run_async, settings_or_exit
from consumer.cli.verdict import Verdict
from consumer.core.body import Unreadable, decode
from consumer.core.conversion import attribute
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.outcome import Dead, DeadReason
from consumer.core.reading import Ignored, Reading, Several, Unready
from consumer.core.shop import Shops
from consumer.events import split_events
from consumer.intake import Intake
from consumer.mappings.explain import Explanation, explain
from consumer.mappings.guess import Fit, guess
from consumer.mappings.library import load_mapping
from consumer.settings import SettingsError, ShopsFileError
from consumer.terminal import console, echo_json


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--mapping", metavar="M", help="A built-in mapping's name, or a mapping file; else CONSUMER_MAPPING.")
@click.option("--explain", "explained", is_flag=True, help="Show each path of the mapping and the value it met.")
@click.option("--guess", "guessing", is_flag=True, help="Try the built-in mappings and say which fit.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header that the message would have.")
@click.option("--routing-key", default="", metavar="KEY", help="The routing key that the message would have.")
@json_option
def convert(  # noqa: PLR0913 - one parameter for each option
    *,
    files: tuple[Path, ...],
    mapping: str | None,
    explained: bool,
    guessing: bool,
    headers: tuple[str, ...],
    routing_key: str,
    as_json: bool,
) -> None:
    """Show what would be sent for the events in FILES (or stdin), without sending anything.

    A file holds one event, a JSON array of events, or one event per line.
    """
    deliveries = [
        Delivery(event, routing_key=routing_key, headers=dict(map(_header, headers)))
        for data in read_inputs(files)
        for event in split_events(data) or [data]
    ]
    if guessing:
        for delivery in deliveries:
            _show_guess(guess(_document(delivery), delivery), as_json=as_json)
        return
    desk = _open(mapping)
    for delivery in deliveries:
        for verdict in desk.verdicts(delivery):
            if as_json:
                echo_json(verdict.as_json(explained=explained))
            else:
                verdict.show(explained=explained)


def read_inputs(files: tuple[Path, ...]) -> list[bytes]:
    """What is in each file; stdin for "-", and when there is none."""
    return [sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes() for file in files or (Path("-"),)]


@dataclass(frozen=True)
class _Desk:
    """Reads events as the consumer would."""

    intake: Intake
    mapping: str
    shops: Shops

    def verdicts(self, delivery: Delivery) -> Iterator[Verdict]:
        """What would become of the event, or of each of the events in it."""
        reading = self.intake(delivery)
        if not isinstance(reading, Reading):
            reading = run_async(lambda: self.intake.wait_for(delivery))
        if isinstance(reading, Several):
            for body in reading.bodies:
                yield from self.verdicts(Delivery(body, routing_key=delivery.routing_key, headers=delivery.headers))
        else:
            yield self._verdict(reading, self._explain(delivery))

    def _explain(self, delivery: Delivery) -> Explanation | None:
        document = _document(delivery)
        if document is None or self.intake.enrichment is not None:
            return None  # what the enrichment made of it is its own
        return explain(load_mapping(self.mapping), document, delivery)

    def _verdict(
        self, order: OrderPaid | Malformed | Refund | Ignored | Unready, explanation: Explanation | None
    ) -> Verdict:
        match order:
            case Unready(why):
                return Verdict(None, None, Dead(DeadReason.EXHAUSTED, f"{why}; the consumer would try again"))
            case Malformed(detail):
                return Verdict(order.shop_id, order.order_id, Dead(DeadReason.MALFORMED, detail), explanation)
            case Refund(detail):
                return Verdict(order.shop_id, order.order_id, Dead(DeadReason.REFUND, detail), explanation)
            case Ignored():
                return Verdict(order.shop_id, order.order_id, order, explanation)
            case OrderPaid():
                return self._converted(order, explanation)

    def _converted(self, order: OrderPaid, explanation: Explanation | None) -> Verdict:
        shop_id = order.shop_id
        if self.shops.shops:
            shop = self.shops.find(order.shop_id)
            if isinstance(shop, str):
                return Verdict(shop_id, order.order_id, Dead(DeadReason.UNKNOWN_SHOP, shop), explanation)
            shop_id = shop.id
        return Verdict(shop_id, order.order_id, attribute(order), explanation)


def _open(mapping: str | None) -> _Desk:
    settings = settings_or_exit()
    if mapping is not None:
        settings = settings.model_copy(update={"consumer_mapping": mapping})
    try:
        shops = settings.shops_source(os.environ).shops
        return _Desk(open_intake(settings, lambda: shops), settings.consumer_mapping, shops)
    except SettingsError as error:
        exit_for(error if mapping is None else SettingsError([_by_option(each) for each in error.problems]))
    except ShopsFileError as error:
        exit_for(SettingsError([str(error)]))


def _by_option(problem: str) -> str:
    return problem.replace("CONSUMER_MAPPING:", "--mapping:", 1)


def _header(text: str) -> tuple[str, object]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE", param_hint="--header")
    return name, value


def _document(delivery: Delivery) -> object:
    document = decode(delivery.body)
    if isinstance(document, Unreadable):
        return None
    return document[0] if isinstance(document, list) and len(document) == 1 else document


def _show_guess(fits: list[Fit], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "best": next((fit.mapping for fit in fits if fit.fits), None),
                "guess": [
                    {"mapping": fit.mapping, "fits": fit.fits, "found": round(fit.found, 2), "why": _why(fit)}
                    for fit in fits
                ],
            }
        )
        return
    table = Table("mapping", "fits", "keys found", "why not")
    for fit in fits:
        table.add_row(fit.mapping, Text("yes", "green") if fit.fits else "no", f"{fit.found:.0%}", _why(fit))
    console().print(table)


def _why(fit: Fit) -> str:
    match fit.result:
        case OrderPaid():
            return ""
        case Ignored(why):
            return why
        case Malformed(detail) | Refund(detail):
            return detail
