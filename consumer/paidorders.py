"""The shop's own list of paid orders: CSV or JSON lines, columns named or guessed, read one row at a time."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, TextIO

from consumer.core.identifier import to_identifier
from consumer.core.money import to_currency

# As they are called in the exports of shop systems; compared without case, spaces, dots, dashes and underscores.
_GUESSES = {
    "order": "orderid ordernumber orderno orderref orderreference incrementid order number name id",
    "amount": "ordervalue grandtotal totalprice ordertotal totalamount amount total value price",
    "currency": "currency currencycode ordercurrency ordercurrencycode",
    "shop": "shopid shop store storeid merchantid",
}


class PaidOrdersError(Exception):
    """The list cannot be read; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what; None: there is none."""

    order: str
    amount: str | None = None
    currency: str | None = None
    shop: str | None = None


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """One row. `amount` is None where the list tells none that can be read."""

    order: str
    shop: str | None
    amount: Decimal | None
    currency: str


def read_paid_orders(file: TextIO, given: dict[str, str | None]) -> tuple[Columns, Iterator[PaidOrder]]:
    """The columns, and the rows as they are read. `given` names columns (order, amount, currency, shop).

    Raises PaidOrdersError; while the rows are read, too.
    """
    first = next((line for line in file if line.strip()), "")
    if not first:
        raise PaidOrdersError("expected a list of orders, found an empty file")
    if "\0" in first:
        raise PaidOrdersError("expected text in UTF-8; this looks like UTF-16, which spreadsheets call Unicode text")
    lines = chain([first.removeprefix("\ufeff")], file)
    begins = first.lstrip("\ufeff \t")[:1]
    if begins == "[":
        raise PaidOrdersError(
            "expected CSV or one JSON object a line, found a JSON array; `jq -c '.[]'` takes it apart"
        )
    rows = _json_rows(lines) if begins == "{" else _csv_rows(first, lines)
    head = next(rows, None)
    if head is None:
        raise PaidOrdersError("expected a line of column names and at least one order")
    columns = _columns(list(head), given)
    return columns, (_paid_order(row, columns, number) for number, row in enumerate(chain([head], rows), 1))


def _json_rows(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=Decimal)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise PaidOrdersError(f"line {number}: expected a JSON object")
        yield row


def _csv_rows(first: str, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    separator = max(",;\t|", key=first.count)
    try:
        yield from csv.DictReader(lines, delimiter=separator, skipinitialspace=True)
    except csv.Error as error:
        raise PaidOrdersError(f"expected CSV: {error}") from error


def _columns(names: Sequence[str], given: dict[str, str | None]) -> Columns:
    plain = {_plain(name): name for name in reversed(names)}
    found: dict[str, str | None] = {}
    for kind, guesses in _GUESSES.items():
        wanted = given.get(kind)
        if wanted is not None and wanted not in names:
            raise PaidOrdersError(f"no column {wanted!r}; there are {', '.join(map(str, names))}")
        found[kind] = wanted or next((plain[guess] for guess in guesses.split() if guess in plain), None)
    order = found.pop("order")
    if order is None:
        raise PaidOrdersError(f"name the column of the order id; there are {', '.join(map(str, names))}")
    return Columns(order, **found)


def _plain(name: object) -> str:
    return "".join(each for each in str(name).lower() if each.isalnum())


def _paid_order(row: dict[str, Any], columns: Columns, number: int) -> PaidOrder:
    value = row.get(columns.order)
    order = to_identifier(value.strip() if isinstance(value, str) else value)
    if not isinstance(order, str):
        found = f", found {order.found}" if order.found else ""
        raise PaidOrdersError(f"order {number} of the list: {columns.order}: expected {order.expected}{found}")
    shop = row.get(columns.shop) if columns.shop else None
    currency = row.get(columns.currency) if columns.currency else None
    amount = _amount(row.get(columns.amount)) if columns.amount else None
    return PaidOrder(order, str(shop) if shop else None, amount, to_currency(currency) or "")


def _amount(value: object) -> Decimal | None:
    """The amount in "1234.50", "1,234.50" or "1.234,50"; None in anything else."""
    text = str(value).strip() if value is not None else ""
    point, comma = text.rfind("."), text.rfind(",")
    if comma > point and (point >= 0 or len(text) - comma <= 3):  # noqa: PLR2004 - a comma before one or two decimals
        text = text.replace(".", "").replace(",", ".")
    try:
        amount = Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
