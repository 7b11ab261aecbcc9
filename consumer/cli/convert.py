"""`neuroon-consumer convert`."""

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from consumer.cli.common import exit_for, json_option, settings_or_exit
from consumer.core.conversion import Conversion, attribute
from consumer.core.order import Malformed, OrderPaid, Refund, parse
from consumer.core.outcome import Dead, DeadReason, Unattributed
from consumer.core.shop import Shops
from consumer.events import split_events
from consumer.settings import SettingsError, ShopsFileError

Result = tuple[str | None, str | None, Conversion | Unattributed | Dead]  # shop id, order id, end


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@json_option
def convert(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what would be sent for the events in FILES (or stdin), without sending anything.

    A file holds one event, a JSON array of events, or one event per line.
    """
    shops = _configured_shops()
    for data in read_inputs(files):
        for event in split_events(data) or [data]:
            result = _convert(event, shops)
            _print(result, as_json=as_json)


def read_inputs(files: tuple[Path, ...]) -> list[bytes]:
    """What is in each file; stdin for "-", and when there is none."""
    return [sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes() for file in files or (Path("-"),)]


def _configured_shops() -> Shops:
    settings = settings_or_exit()
    try:
        return settings.shops_source(os.environ).shops
    except ShopsFileError as error:
        exit_for(SettingsError([str(error)]))


def _convert(event: bytes, shops: Shops) -> Result:
    order = parse(event)
    match order:
        case Malformed(detail):
            return order.shop_id, order.order_id, Dead(DeadReason.MALFORMED, detail)
        case Refund(detail):
            return order.shop_id, order.order_id, Dead(DeadReason.REFUND, detail)
        case OrderPaid():
            pass
    shop_id = order.shop_id
    if shops.shops:
        shop = shops.find(order.shop_id)
        if isinstance(shop, str):
            return order.shop_id, order.order_id, Dead(DeadReason.UNKNOWN_SHOP, shop)
        shop_id = shop.id
    return shop_id, order.order_id, attribute(order)


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        click.echo(_as_json(result))
    else:
        _show(result)


def _as_json(result: Result) -> str:
    shop_id, order_id, end = result
    match end:
        case Conversion(_, payload):
            # The payload is put in as it is: what is shown is what would be sent, to the byte.
            return f'{{"outcome":"conversion","shopId":{json.dumps(shop_id)},"payload":{payload.decode()}}}'
        case Unattributed():
            return json.dumps({"outcome": "unattributed", "orderId": order_id, "shopId": shop_id})
        case Dead(reason, detail):
            dead = {"outcome": "dead", "reason": reason, "detail": detail, "orderId": order_id, "shopId": shop_id}
            return json.dumps(dead, ensure_ascii=False)


def _show(result: Result) -> None:
    shop_id, order_id, end = result
    console = Console(highlight=False)
    name = f"order {order_id or '?'} of {f'shop {shop_id}' if shop_id else 'the one shop'}"
    match end:
        case Conversion(_, payload):
            sent = json.loads(payload, parse_float=str)
            console.print(f"[green]{name}: conversion[/green], {sent['orderValue']} {end.currency}")
            table = Table("product", "search", "quantity", "line total")
            for line in sent["conversions"]:
                table.add_row(line["productId"], line["searchLogId"], str(line["quantity"]), str(line["lineTotal"]))
            console.print(table)
        case Unattributed():
            console.print(f"[yellow]{name}: unattributed[/yellow], nothing would be sent")
        case Dead(reason, detail):
            console.print(f"[red]{name}: dead ({reason})[/red]: {detail}", markup=True)
