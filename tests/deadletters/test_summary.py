"""Counting letters and money by cause."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.core import delivery as header
from consumer.deadletters.filters import Filter, moment
from consumer.deadletters.letter import Letter, read_letter
from consumer.deadletters.summary import Summary, growth
from tests.support.letters import DIED_AT, letter, read


def a_letter(order: str, **changes: object) -> Letter:
    return read_letter(letter(order, **changes), read)


def summed(*letters: Letter) -> Summary:
    summary = Summary()
    for each in letters:
        summary.add(each)
    return summary


def test_one_cause_is_one_group_whatever_ids_it_names() -> None:
    """Messages that differ by ids and numbers are one group; shop, reason and status split."""
    refused = {header.REASON: "refused", header.STATUS: 422}
    summary = summed(
        a_letter("ORD-1", **refused, **{header.DETAIL: "order ORD-1 is 17 days old"}),
        a_letter("ORD-2", **refused, **{header.DETAIL: "order ORD-2 is 4 days old"}),
        a_letter("ORD-3", **{header.REASON: "refused", header.STATUS: 400, header.DETAIL: "order ORD-3 is 4 days old"}),
        a_letter("ORD-4", **refused, **{header.DETAIL: "order ORD-4 is 4 days old", header.SHOP: "shop_b"}),
    )
    assert [group.count for group in summary.ranked()] == [2, 1, 1]


def test_money_is_summed_exactly_and_by_currency() -> None:
    """0.1 and 0.2 are 0.30; yen have no decimals; what cannot be read adds nothing."""
    euros = [replace(a_letter(f"ORD-{n}"), value=Decimal(f"0.{n}0")) for n in (1, 2)]
    yen = replace(a_letter("ORD-3"), value=Decimal(900), currency="JPY")
    unknown = replace(a_letter("ORD-4"), value=None, currency=None)
    told = summed(*euros, yen, unknown).as_dict()
    assert (told["total"], told["value"]) == (4, {"EUR": "0.30", "JPY": "900"})


def test_oldest_newest_and_share_are_told() -> None:
    """A group tells when its first and last died, and what part of all it is."""
    early = replace(a_letter("ORD-1"), died_at=DIED_AT - 3600)
    groups = summed(a_letter("ORD-2"), early, a_letter("ORD-3", **{header.SHOP: "b"})).as_dict()["groups"]
    assert isinstance(groups, list)
    assert groups[0]["oldest"] == "2026-01-02T02:04:05.000Z"
    assert groups[0]["newest"] == "2026-01-02T03:04:05.000Z"
    assert groups[0]["share"] == pytest.approx(2 / 3, abs=1e-4)


def test_two_looks_tell_what_grows() -> None:
    """The difference of two looks names the causes that changed, and only those."""
    same, gone, come = (
        a_letter("ORD-1"),
        a_letter("ORD-2", **{header.SHOP: "b"}),
        a_letter("ORD-3", **{header.SHOP: "c"}),
    )
    changed = growth(summed(same, gone), summed(same, come, replace(come, id="x")))
    assert changed.total == 1
    assert {cause[0]: change for cause, change in changed.causes.items()} == {"b": -1, "c": 2}


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(shop="shop_a", reason="exhausted", status=503, order="ORD-1"), True),
        (Filter(ids=frozenset({"letter-ORD-1", "other"})), True),
        (Filter(ids=frozenset({"other"})), False),
        (Filter(shop="shop_b"), False),
        (Filter(reason="refused"), False),
        (Filter(status=500), False),
        (Filter(order="ORD-2"), False),
        (Filter(fingerprint="0" * 12), False),
        (Filter(since=DIED_AT), True),
        (Filter(since=DIED_AT + 1), False),
        (Filter(until=DIED_AT), True),
        (Filter(until=DIED_AT - 1), False),
    ],
)
def test_a_filter_means_all_that_is_given(wanted: Filter, *, fits: bool) -> None:
    """Each condition excludes; a span of time includes its ends."""
    assert wanted.matches(a_letter("ORD-1")) is fits


def test_a_letter_of_unknown_age_lies_in_no_span() -> None:
    """Nobody replays or discards by time what has no time."""
    ageless = replace(a_letter("ORD-1"), died_at=None)
    assert not Filter(since=0.0).matches(ageless)
    assert Filter().matches(ageless)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", 10_000 - 7200),
        ("2h ago", 10_000 - 7200),
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T01:01:00+01:00", 60),
        ("1970-01-01", 0),
    ],
)
def test_times_are_read_as_operators_type_them(text: str, expected: float) -> None:
    """A date, a time with or without zone (UTC), or how long ago."""
    assert moment(text, 10_000) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2 hours", "-2h", "25:00"])
def test_other_times_are_refused_with_an_example(text: str) -> None:
    """What cannot be read is an error that shows what can."""
    with pytest.raises(ValueError, match="such as"):
        moment(text, 0)


def test_a_filter_is_recorded_as_it_was_given() -> None:
    """The audit has the conditions that were given, times in words, and no others."""
    wanted = Filter(ids=frozenset({"b", "a"}), shop="s", since=60.0)
    assert wanted.as_dict() == {"ids": ["a", "b"], "shop": "s", "since": "1970-01-01T00:01:00.000Z"}
    assert Filter().as_dict() == {}
