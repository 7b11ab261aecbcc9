"""How a try can end, and which end each answer of Neuroon leads to.

A `Reply` is what the endpoint (or the network) answered. `judge` turns it into an `Outcome`, which is
what becomes of the message. The words of `DeadReason` and `RetryReason` are public: they stand in log lines,
metrics, message headers and on the command line.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from consumer.core.ladder import LONGEST_FLOOR, Ladder
from consumer.core.value import value


class DeadReason(StrEnum):
    """Why an order rests in the dead-letter queue."""

    MALFORMED = "malformed"  # the event cannot be read as an order
    REFUND = "refund"  # a negative amount; conversions are never negative
    UNKNOWN_SHOP = "unknown_shop"  # no such shop is configured; replay once it is
    REFUSED = "refused"  # Neuroon says that this payload will never do
    EXHAUSTED = "exhausted"  # tries, or the time on hold, are used up
    EXPIRED = "expired"  # the time in which it was to be delivered is over
    BUG = "bug"  # our own code failed on it at every try
    CRASHED = "crashed"  # the broker gave up: the consumer died on it again and again


class RetryReason(StrEnum):
    """Why an order waits for another try."""

    THROTTLED = "throttled"  # 429; costs no try
    UNAVAILABLE = "unavailable"  # no answer, one that blames the server, or a refusal "for now"
    HELD = "held"  # the shop's key, id, origin or base URL is wrong, or something stands before Neuroon; costs no try
    BUG = "bug"  # our own code failed


@value
class Accepted:
    """Any 2xx: the conversion is recorded."""

    status: int


@dataclass(frozen=True, slots=True)
class AlreadyKnown:
    """A 409, where the settings say that 409 means "recorded before"."""

    status: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """A 429. `after`: seconds that Retry-After asks for, or None."""

    status: int
    after: float | None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A 5xx, 408, 421 or 425, or no answer at all (`status` None). `after`: seconds from Retry-After, or None."""

    why: str
    status: int | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """A 401, 402, 403, 404, 407, 423, 451 or 3xx, or an HTML page: it is about the shop, not about the order.

    `after`: seconds from Retry-After, or None.
    """

    status: int
    problem: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Any other 4xx: this payload will never be accepted.

    `after`: seconds from Retry-After. An answer that has one speaks of now only (RFC 9110, 15.5.14).
    """

    status: int
    problem: str
    after: float | None = None


Reply = Accepted | AlreadyKnown | Throttled | Unavailable | Misconfigured | Refused


@value
class Delivered:
    """Neuroon has recorded the conversion."""

    status: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two contents for one order, as SHA-256 in hex: Neuroon has the first, and keeps it."""

    kept: str
    offered: str

    def __str__(self) -> str:
        return f"delivered as {self.kept}, now offered as {self.offered}"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Delivered before; nothing was posted, or Neuroon said that it knew the order.

    `conflict`: what was delivered before was something else.
    """

    status: int | None = None
    conflict: Conflict | None = None


@dataclass(frozen=True, slots=True)
class Unattributed:
    """Nothing to send, which is a success: no line of the order came from a search.

    `ignored`: the event is none that counts, by the mapping's own word; it says why. In logs and metrics that is the
    reason "ignored".
    """

    ignored: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another try is due not before `after` seconds from now (None: as the ladder says).

    `next_attempt` is the number that the next try will carry. A wait that costs no try repeats the present number.
    """

    reason: RetryReason
    next_attempt: int
    after: float | None = None
    detail: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """No further try: the event goes to the dead-letter queue, whole."""

    reason: DeadReason
    detail: str
    status: int | None = None

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.reason, self.status, self.detail)


@dataclass(frozen=True, slots=True)
class Untried:
    """No end at all: the order was not posted, and stays in its queue, in its place."""


Outcome = Delivered | Duplicate | Unattributed | Retry | Dead


def judge(reply: Reply, attempt: int) -> Delivered | Duplicate | Retry | Dead:
    """What an answer to try number `attempt` means for the order.

    ===============  =========================  ============  =================
    answer           status                     end           costs a try
    ===============  =========================  ============  =================
    Accepted         2xx                        Delivered
    AlreadyKnown     409, if so set             Duplicate
    Throttled        429                        Retry         no
    Unavailable      408, 421, 425, 5xx, none   Retry         yes, but see below
    Misconfigured    401, 402, 403, 404, 407,   Retry (held)  no
                     423, 451, 3xx; a 2xx
                     that is an HTML page
    Refused          400, 409, 413, 415, 422,   Dead
                     every other 4xx
    Refused          the same, Retry-After      Retry         yes, but see below
    ===============  =========================  ============  =================

    Who asks for a wait longer than `LONGEST_FLOOR` is tried again before it is over, and such a try costs nothing.
    """
    match reply:
        case Accepted(status):
            return Delivered(status)
        case AlreadyKnown(status):
            return Duplicate(status)
        case Throttled(status, after):
            return Retry(RetryReason.THROTTLED, attempt, after, "too many requests", status)
        case Unavailable(why, status, after):
            return Retry(RetryReason.UNAVAILABLE, attempt + _charge(after), after, why, status)
        case Misconfigured(status, problem, after):
            return Retry(RetryReason.HELD, attempt, after, problem, status)
        case Refused(status, problem, None):
            return Dead(DeadReason.REFUSED, problem, status)
        case Refused(status, problem, after):
            return Retry(RetryReason.UNAVAILABLE, attempt + _charge(after), after, problem, status)
        case _:
            assert_never(reply)


def escalate(retry: Retry, ladder: Ladder, attempt: int, waited: float, draw: float) -> Retry | Dead:
    """Give a retry its wait, or end it.

    `attempt` is the try that just failed, `waited` the seconds this order has waited without a try being
    used (0 when it has not), `draw` a random number in [0, 1) for the jitter. Past the last rung, or past the longest
    hold, the order is dead with reason `exhausted`; a bug that stays one keeps the reason `bug`.
    """
    if retry.next_attempt == attempt:
        if waited > ladder.max_hold:
            return Dead(DeadReason.EXHAUSTED, f"waited too long: {retry.detail}", retry.status)
        return replace(retry, after=_free_wait(retry, ladder, attempt))
    if retry.next_attempt > ladder.tries:
        reason = DeadReason.BUG if retry.reason is RetryReason.BUG else DeadReason.EXHAUSTED
        return Dead(reason, retry.detail, retry.status)
    return replace(retry, after=max(ladder.jittered(attempt, draw), retry.after or 0.0))


def is_long(after: float | None) -> bool:
    """Whether a Retry-After of `after` seconds is more than is waited for without asking in between."""
    return after is not None and after > LONGEST_FLOOR


def _charge(after: float | None) -> int:
    """How many tries a failure costs whose answer asked for a wait of `after` seconds."""
    return 0 if is_long(after) else 1


def _free_wait(retry: Retry, ladder: Ladder, attempt: int) -> float:
    """Seconds until the next look at an order that waits without a try being used."""
    if is_long(retry.after):
        return ladder.hold.seconds
    if retry.reason is RetryReason.HELD:
        return max(ladder.hold.seconds, retry.after or 0.0)
    return ladder.rung(attempt).seconds if retry.after is None else retry.after


# Quoted names, ids and numbers differ from order to order; what is left names the cause. A word is taken whole and only
# then looked at for digits, or a UUID's groups without one would be left. An apostrophe inside a word quotes nothing.
_QUOTATION_OR_WORD = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|[\w-]+(?:[.,:]\d[\w-]*)*")


def fingerprint(reason: str, status: int | None, detail: str) -> str:
    """12 hex digits, equal for dead letters of one cause: same reason, status and message but for ids and numbers."""
    cause = _QUOTATION_OR_WORD.sub(_blurred, detail.lower())
    return hashlib.sha256(f"{reason}|{status or ''}|{cause}".encode()).hexdigest()[:12]


def _blurred(found: re.Match[str]) -> str:
    text = found[0]
    return "#" if text[0] in "\"'" or any(map(str.isdigit, text)) else text
