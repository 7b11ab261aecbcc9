"""Outcomes: the table from answer to end, the ladder from end to wait, and the fingerprint of a cause."""

import time
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.ladder import Ladder, Rung
from consumer.core.outcome import (
    Accepted,
    AlreadyKnown,
    Dead,
    DeadReason,
    Delivered,
    Duplicate,
    Misconfigured,
    Refused,
    Reply,
    Retry,
    RetryReason,
    Throttled,
    Unavailable,
    escalate,
    fingerprint,
    is_long,
    judge,
)

RUNGS = (Rung("5s", 5), Rung("30s", 30), Rung("2m", 120))
LADDER = Ladder(RUNGS, hold=Rung("1m", 60), max_hold=86400)
NO_JITTER = 0.99

DEAD_REASONS = ["malformed", "refund", "unknown_shop", "refused", "exhausted", "expired", "bug", "crashed"]


def test_the_words_are_the_public_ones() -> None:
    """They stand in log lines, metrics, headers and on the command line."""
    assert [str(reason) for reason in DeadReason] == DEAD_REASONS
    assert [str(reason) for reason in RetryReason] == ["throttled", "unavailable", "held", "bug"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Accepted(201), Delivered(201)),
        (AlreadyKnown(409), Duplicate(409)),
        (Throttled(429, 3.0), Retry(RetryReason.THROTTLED, 2, 3.0, "too many requests", 429)),
        (Throttled(429, None), Retry(RetryReason.THROTTLED, 2, None, "too many requests", 429)),
        (Unavailable("bad gateway", 502), Retry(RetryReason.UNAVAILABLE, 3, None, "bad gateway", 502)),
        (Unavailable("busy", 503, 9.0), Retry(RetryReason.UNAVAILABLE, 3, 9.0, "busy", 503)),
        (Unavailable("timed out"), Retry(RetryReason.UNAVAILABLE, 3, None, "timed out", None)),
        (Unavailable("busy", 503, 300.0), Retry(RetryReason.UNAVAILABLE, 3, 300.0, "busy", 503)),
        (Unavailable("busy", 503, 300.1), Retry(RetryReason.UNAVAILABLE, 2, 300.1, "busy", 503)),
        (Misconfigured(401, "key"), Retry(RetryReason.HELD, 2, None, "key", 401)),
        (Misconfigured(403, "slowly", 90.0), Retry(RetryReason.HELD, 2, 90.0, "slowly", 403)),
        (Refused(400, "blank"), Dead(DeadReason.REFUSED, "blank", 400)),
        (Refused(413, "too large now", 9.0), Retry(RetryReason.UNAVAILABLE, 3, 9.0, "too large now", 413)),
        (Refused(413, "too large now", 7200.0), Retry(RetryReason.UNAVAILABLE, 2, 7200.0, "too large now", 413)),
    ],
)
def test_every_answer_has_its_end(reply: Reply, expected: object) -> None:
    """Of the second try: only what is unavailable uses one up; what waits for others, or longer, repeats its number."""
    assert judge(reply, 2) == expected


@pytest.mark.parametrize(("attempt", "wait"), [(1, 5), (2, 30), (3, 120)])
def test_a_failed_try_waits_its_rung(attempt: int, wait: float) -> None:
    """One after the other."""
    retry = Retry(RetryReason.UNAVAILABLE, attempt + 1, detail="down", status=503)
    found = escalate(retry, LADDER, attempt, 0, NO_JITTER)
    assert found == Retry(RetryReason.UNAVAILABLE, attempt + 1, wait, "down", 503)


@pytest.mark.parametrize(("reason", "dead"), [(RetryReason.UNAVAILABLE, "exhausted"), (RetryReason.BUG, "bug")])
def test_past_the_last_rung_the_order_is_dead(reason: RetryReason, dead: str) -> None:
    """With what went wrong last; a bug stays one."""
    found = escalate(Retry(reason, 5, None, "down", 503), LADDER, 4, 0, NO_JITTER)
    assert found == Dead(DeadReason(dead), "down", 503)


@pytest.mark.parametrize(("after", "wait"), [(None, 30), (3, 30), (30, 30), (31, 31), (7200, 7200)])
def test_what_the_server_asks_for_is_a_floor(after: float | None, wait: float) -> None:
    """A Retry-After with a failure makes the wait longer, never shorter."""
    found = escalate(Retry(RetryReason.UNAVAILABLE, 3, after), LADDER, 2, 0, NO_JITTER)
    assert isinstance(found, Retry)
    assert found.after == wait


def test_a_failed_try_may_wait_longer_by_chance() -> None:
    """So that what failed together does not come back together."""
    found = escalate(Retry(RetryReason.UNAVAILABLE, 3), LADDER, 2, 0, 0.1)
    assert isinstance(found, Retry)
    assert found.after == 35


@pytest.mark.parametrize("attempt", [1, 2, 4, 400])
@pytest.mark.parametrize(("reason", "after", "wait"), [(RetryReason.HELD, None, 60), (RetryReason.THROTTLED, 3, 3)])
def test_a_wait_that_costs_no_try_repeats_its_number(
    attempt: int, reason: RetryReason, after: float | None, wait: float
) -> None:
    """After the last try, too: a shop on hold or a limit reached never kills an order by itself."""
    found = escalate(Retry(reason, attempt, after), LADDER, attempt, 0, NO_JITTER)
    assert found == Retry(reason, attempt, wait)


def test_throttled_without_a_word_waits_the_rung_of_its_try() -> None:
    """And the last one past the top."""
    retries = [escalate(Retry(RetryReason.THROTTLED, n), LADDER, n, 0, NO_JITTER) for n in (1, 2, 4)]
    assert retries == [Retry(RetryReason.THROTTLED, n, after) for n, after in ((1, 5), (2, 30), (4, 120))]


@pytest.mark.parametrize("reason", [RetryReason.HELD, RetryReason.THROTTLED])
def test_nobody_waits_longer_than_the_longest_hold(reason: RetryReason) -> None:
    """Just as long is not longer."""
    retry = Retry(reason, 1, None, "key", 401)
    assert isinstance(escalate(retry, LADDER, 1, 86400, NO_JITTER), Retry)
    assert escalate(retry, LADDER, 1, 86401, NO_JITTER) == Dead(DeadReason.EXHAUSTED, "waited too long: key", 401)


@given(
    st.sampled_from(RetryReason), st.integers(1, 9), st.booleans(), st.none() | st.floats(0, 1e6), st.floats(0, 0.99)
)
def test_every_retry_ends_or_waits(reason: RetryReason, n: int, free: bool, after: float | None, draw: float) -> None:
    """A retry that goes on has its wait, at least what was asked for within reason; one that costs a try ends."""
    found = escalate(Retry(reason, n if free else n + 1, after), LADDER, n, 0, draw)
    if isinstance(found, Retry):
        assert found.after is not None
        assert found.after >= (after or 0) or (free and is_long(after) and found.after == LADDER.hold.seconds)
        assert free or n < LADDER.tries
    else:
        assert not free
        assert n >= LADDER.tries


UUIDS = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(500)]


@pytest.mark.parametrize(
    "message",
    [
        "order {} is not known".format,
        "conversions[0].productId '{}' not found".format,
        'value "{}" at line 1'.format,
        "Order: {}, status 7".format,
    ],
)
def test_one_cause_has_one_fingerprint(message: Callable[[str], str]) -> None:
    """Whatever ids, numbers and quoted names it mentions: 500 UUIDs among them, some of whose groups have no digit."""
    names = [*UUIDS, "ORD-1", "4711", "ord_2026-01", "12.50", "1,234,567", "10.0.0.1:5672"]
    assert len({fingerprint("refused", 400, message(name)) for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("productId must not be blank", "searchLogId must not be blank"),
        ("can't find product 12, isn't there", "can't reach the shop, isn't there"),
        ("", "quantity"),
    ],
)
def test_other_causes_have_other_fingerprints(one: str, other: str) -> None:
    """What is left without ids and numbers tells them apart; an apostrophe quotes nothing."""
    assert fingerprint("refused", 400, one) != fingerprint("refused", 400, other)


def test_a_fingerprint_is_of_reason_and_status_as_well() -> None:
    """In 12 hex digits that are the same in every process; the case of the message does not matter."""
    causes = (("refused", 400), ("refused", 422), ("refused", None), ("bug", 400))
    assert len({fingerprint(reason, status, "x") for reason, status in causes}) == 4
    assert fingerprint("refused", 400, "Must not be blank") == fingerprint("refused", 400, "MUST NOT BE BLANK")
    assert Dead(DeadReason.REFUSED, "order ORD-1 is late", 400).fingerprint == "dd03976a602c"


@pytest.mark.parametrize("piece", ["a-", "'", "' a", '"a', "1.", "don't ", "a'", "-", "1,a"])
def test_a_long_detail_costs_little(piece: str) -> None:
    """A quarter of a megabyte of anything is looked at once: 0.2 s of the processor, not hours."""
    before = time.process_time()
    fingerprint("refused", 400, piece * (2**18 // len(piece)))
    assert time.process_time() - before < 2
