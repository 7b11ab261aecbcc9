"""The shop's own list, held against the ledger."""

import io
import json
from decimal import Decimal

import pytest

from consumer.adapters.ledger import Deed
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.outcome import Dead, DeadReason, Delivered, Outcome, Retry, RetryReason, Unattributed
from consumer.paidorders import Columns, PaidOrder, PaidOrdersError, read_paid_orders
from consumer.reconcile import CHUNK, reconcile
from tests.support.ledger import note, record


def orders(text: str, **given: str) -> tuple[Columns, list[PaidOrder]]:
    columns, rows = read_paid_orders(io.StringIO(text), dict(given))
    return columns, list(rows)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("orderId,orderValue,currency\nORD-1,12.50,EUR\n", ("orderId", "orderValue", "currency")),
        ("\ufeffOrder Number;Grand Total;Currency\nORD-1;12,50;eur\n", ("Order Number", "Grand Total", "Currency")),
        ("id\ttotal\tcurrency\nORD-1\t12.50\tEUR\n", ("id", "total", "currency")),
        ('\n{"order_id": "ORD-1", "total_price": 12.50, "currency": "EUR"}\n', ("order_id", "total_price", "currency")),
        (
            '"id","increment_id","total","currency_code"\n7,ORD-1,"12.50",EUR',
            ("increment_id", "total", "currency_code"),
        ),
    ],
)
def test_columns_are_guessed_by_their_names(text: str, columns: tuple[str, str, str]) -> None:
    """CSV with any of the usual separators, and JSON lines; the more telling name wins."""
    assert orders(text) == (Columns(*columns), [PaidOrder("ORD-1", None, Decimal("12.50"), "EUR")])


def test_columns_may_be_named() -> None:
    """Where no name can be guessed."""
    columns, rows = orders("a,b,c,d\nORD-1,5,EUR,shop_b\n", order="a", amount="b", currency="c", shop="d")
    assert columns == Columns("a", "b", "c", "d")
    assert rows == [PaidOrder("ORD-1", "shop_b", Decimal(5), "EUR")]


def test_identifiers_and_amounts_are_exact() -> None:
    """Integers of 23 digits, thousands separators; what is no amount counts as none."""
    _, rows = orders(
        '{"id": 12345678901234567890123, "total": 0.1}\n{"id": "7", "total": "1.234,50"}\n{"id": 8, "total": "?"}'
    )
    assert [(each.order, each.amount) for each in rows] == [
        ("12345678901234567890123", Decimal("0.1")),
        ("7", Decimal("1234.50")),
        ("8", None),
    ]


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("", {}, "empty"),
        ("\ufeff", {}, "at least one order"),
        ("orderId\n", {}, "at least one order"),
        ("x,y\n1,2\n", {}, "name the column of the order id; there are x, y"),
        ("orderId\n1\n", {"amount": "betrag"}, "no column 'betrag'; there are orderId"),
        ('[{"id": 1}]\n', {}, "found a JSON array"),
        ("\ufffe\0i\0d\0\n", {}, "looks like UTF-16"),
        ('{"id": 1}\nrubbish\n', {}, "line 2: expected a JSON object"),
        ("orderId,total\n1,2\n ,3\n", {}, "order 2 of the list: orderId: expected text that is not blank"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_what_was_expected(
    text: str, given: dict[str, str], told: str
) -> None:
    """Naming the line or the column."""
    with pytest.raises(PaidOrdersError, match=told.replace("?", r"\?")):
        orders(text, **given)


async def test_every_order_of_the_list_is_in_one_group() -> None:
    """Counts and sums per currency, whatever the number of chunks; the first hundred that are missing are named."""
    count = 3 * CHUNK
    store = MemoryLedger()
    lost = Dead(DeadReason.EXHAUSTED, "answered 503", 503)
    ends: list[Outcome] = [Delivered(200), Unattributed(), Retry(RetryReason.UNAVAILABLE, 2, 5.0), lost]
    await store.write([record(f"ORD-{n}", ends[n % 5]) for n in range(count) if n % 5 < 4])
    await store.write([note("ORD-3", Deed.DISCARDED)])
    listed = (PaidOrder(f"ORD-{n}", None, Decimal("0.10"), "EUR" if n % 2 else "JPY") for n in range(count))
    told: list[int] = []
    result = await reconcile(store, listed, lambda _: "shop_a", told.append)
    shape = result.as_dict()
    fifth = count // 5
    assert json.dumps(shape)
    assert {name: shape[name] for name in ("rows", "delivered", "unattributed", "waiting", "dead", "neverSeen")} == {
        "rows": count, "delivered": fifth, "unattributed": fifth, "waiting": fifth, "dead": fifth, "neverSeen": fifth,
    }  # fmt: skip
    assert shape["missing"] == [f"ORD-{n}" for n in range(4, 500, 5)]
    money = fifth // 2 * Decimal("0.10")
    assert result.sums["neverSeen"] == {"EUR": money, "JPY": money}
    assert told == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert not result.complete
