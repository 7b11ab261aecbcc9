"""Logs and metrics: one line and a few numbers for each settled message, named after its outcome.

Nothing here may show a secret or what an order holds. Exceptions are therefore told by their type and where they came
from: their text can quote the data that caused them.
"""

import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from typing import Any, Protocol, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from pydantic_core import PydanticSerializationError, to_json

from consumer.core.backlog import Backlog
from consumer.core.delivery import Journey
from consumer.core.escaping import escaped, escaped_json
from consumer.core.outcome import Dead, Delivered, Duplicate, Outcome, Retry, Unattributed
from consumer.core.settlement import Subject
from consumer.supervision import TaskName

# From the fastest answer of a local network to the longest request time-out that makes sense.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The label of all shops beyond those that have one of their own.
OTHER = "_other"

PREFIX = "neuroon_consumer"

Event = MutableMapping[str, Any]


class Stream(Protocol):
    """Takes whole lines."""

    def write(self, line: str, /) -> object:
        """Take one."""

    def flush(self) -> None:
        """Called after each."""


def configure_logging(log_format: str | None, level: str, stream: Stream = sys.stderr, *, terminal: bool) -> None:
    """Send all logs to `stream`: JSON lines, or coloured text where that is asked for or it leads to a `terminal`."""
    console = log_format == "console" or (log_format is None and terminal)
    renderers: list[Any] = [_escaped, structlog.dev.ConsoleRenderer(colors=terminal)] if console else [_json_line]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamped,
            _place_instead_of_text,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    # The libraries' own lines: what matters of a lost link is said by ours, in one line; their errors are worth a line.
    logging.basicConfig(handlers=[_ToStructlog()], level=max(threshold, logging.WARNING), force=True)
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)  # it calls every connect in vain an error


def _stamped(_: object, __: str, event: Event) -> Event:
    """With the time in UTC (RFC 3339). structlog's own stamper takes 2.1 us instead of 0.6."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    event["timestamp"] = f"{_second(seconds)}.{microseconds:06}Z"
    return event


@lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json_line(_: object, __: str, event: Event) -> str:
    """The event as JSON. Pydantic's writer takes a third of the time of Python's own.

    It escapes no control characters but C0. In a line of ASCII, as nearly all are, only DEL could be another.
    """
    try:
        line = to_json(event, fallback=repr)
    except PydanticSerializationError:  # half a character (a lone surrogate), which UTF-8 does not have
        return json.dumps(event, default=repr)
    text = line.decode()
    return text if line.isascii() and b"\x7f" not in line else escaped_json(text)


def _escaped(_: object, __: str, event: Event) -> Event:
    """For the console, whose renderer writes texts as they are."""
    return {
        name: value if value is None or isinstance(value, int | float) else escaped(str(value))
        for name, value in event.items()
    }


class _ToStructlog(logging.Handler):
    """Brings the libraries' lines into the same form as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, "library", logger=record.name, exc_info=record.exc_info)


def _place_instead_of_text(_: object, __: str, event: Event) -> Event:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        event["at"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return event


class Telemetry:
    """The metrics of one process, and the line for each settled message."""

    def __init__(self, max_shops: int = 200) -> None:
        """`max_shops` have labels of their own, the first to come; all further ones are told as OTHER."""
        self._max_shops = max_shops
        self._labelled: set[str] = set()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter; nobody asks
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=PREFIX, registry=self.registry)
        gauge = partial(Gauge, namespace=PREFIX, registry=self.registry)
        timer = partial(Histogram, namespace=PREFIX, registry=self.registry, buckets=BUCKETS)

        # Looking a child up by its labels takes the library 1.5 us, each time; there are few, and they never change.
        self._orders_by: dict[tuple[str, str, str], Counter] = {}
        self._requests_by: dict[tuple[str, int | None], Counter] = {}
        self._orders = counter("orders", "Orders by how they ended", ("shop", "outcome", "reason"))
        self._settle_seconds = timer("settle_seconds", "From delivery to settled")
        self._requests = counter("api_requests", "POSTs by answer", ("shop", "status"))
        self._request_seconds = timer("api_request_seconds", "Duration of a POST")
        self.in_flight = gauge("in_flight", "Orders being handled or settled")
        self.api_paused = gauge("api_paused", "How many APIs are down")
        self._shop_held = gauge(
            "shop_held", "1 while a shop's set-up is refused, or the shops file holds it", ("shop",)
        )
        self._held: frozenset[str] = frozenset()
        unusable = "Since when the shops file or a key file cannot be used and the shops read before count; 0: usable"
        self.shops_unusable_since = gauge("shops_unusable_since_timestamp_seconds", unusable)
        self._shop_throttled = gauge(
            "shop_throttled", "1 while a shop is answered 429, or has to wait for it", ("shop",)
        )
        self._throttled: frozenset[str] = frozenset()
        self._last_settled = gauge("last_settled_timestamp_seconds", "When an order was last settled")

        waiting = "Messages ready: for a try now (main), or later (retry); the same from every replica"
        self._waiting = gauge("waiting", waiting, ("place",))
        age = "No order in the main queue waits longer, by the publisher's timestamps; take the least of the replicas"
        self.backlog = Backlog()
        self._backlog_age = gauge("backlog_age_seconds", age)
        self._backlog_age.set_function(lambda: self.backlog.age(time.time()))
        self._dead_letters = gauge("dead_letters", "Dead letters; the same from every replica")
        money = "Money in the dead letters, in major units; each replica looks rarely"
        self._dead_letters_value = gauge("dead_letters_value", money, ("currency",))
        self.waiting(math.nan, math.nan, math.nan)

        self.ledger_errors = counter("ledger_errors", "Times that the ledger could not be used, in time or at all")
        self.ledger_pending = gauge("ledger_pending", "Entries that wait to be written to the ledger")
        self._conflicts = counter("conflicts", "Orders offered again with another content", ("shop",))
        account = "Messages by where they are, and the difference to those received"
        self._balance = gauge("balance", account, ("place",))

        escaped = "Messages whose handling or settlement raised an unexpected error; each costs the message a try"
        self.settling_failures = counter("settling_failures", escaped)
        lost = "Sessions with the broker that were lost; each time a new one is opened"
        self.sessions_lost = counter("sessions_lost", lost)
        refused = "Messages that one of our queues did not take, by queue"
        self.queue_refusals = counter("queue_refusals", refused, ("queue",))
        ended = "Unexpected ends of a background task, by task; it is restarted after a pause"
        self._task_failures = counter("background_task_failures", ended, ("task",))
        for task in TaskName:  # at 0 from the start, since an increase is seen only in a series that is there before
            self._task_failures.labels(task.value)

    def requested(self, shop: str, status: int | None, seconds: float) -> None:
        """Count one POST; `status` None: no answer."""
        label = self._label(shop)
        child = self._requests_by.get((label, status))
        if child is None:
            child = self._requests_by[label, status] = self._requests.labels(label, str(status) if status else "none")
        child.inc()
        self._request_seconds.observe(seconds)

    def task_failed(self, task: TaskName) -> None:
        """Count an unexpected end of a background task."""
        self._task_failures.labels(task.value).inc()

    def balance(self, places: Mapping[str, float]) -> None:
        """Show the account: received, where the messages are, and the difference; NaN: unknown."""
        for place, count in places.items():
            self._balance.labels(place).set(count)

    def waiting(self, main: float, retry: float, dead: float) -> None:
        """Show how many messages are ready in the main queue, the retry queues and the dead letters; NaN: unknown."""
        self._waiting.labels("main").set(main)
        self.backlog.counted(main, time.time())
        self._waiting.labels("retry").set(retry)
        self._dead_letters.set(dead)

    def stuck(self, value: Mapping[str, Decimal]) -> None:
        """Show the money in the dead letters, by currency; NaN: unknown."""
        self._dead_letters_value.clear()
        for currency, amount in value.items():
            self._dead_letters_value.labels(currency).set(float(amount))

    def _label(self, shop: str) -> str:
        """The shop's id, as long as there are not too many of them."""
        if not shop or shop in self._labelled:
            return shop
        if len(self._labelled) >= self._max_shops:
            return OTHER
        self._labelled.add(shop)
        return shop

    def hold(self, shops: Iterable[str]) -> None:
        """Show which shops are held now; one that no longer is, shows 0."""
        self._held = self._mark(self._shop_held, self._held, shops)

    def throttle(self, shops: Iterable[str]) -> None:
        """Show which shops are throttled now, in the same way."""
        self._throttled = self._mark(self._shop_throttled, self._throttled, shops)

    def _mark(self, gauge: Gauge, before: frozenset[str], shops: Iterable[str]) -> frozenset[str]:
        now = frozenset(map(self._label, shops))
        for shop in before - now:
            gauge.labels(shop).set(0)
        for shop in now - before:
            gauge.labels(shop).set(1)
        return now

    def settled(self, outcome: Outcome, subject: Subject, journey: Journey, at: float, milliseconds: float) -> None:
        """Tell of one settled message; `at` in Unix seconds."""
        name, reason, status, detail = describe(outcome)
        shop = subject.shop or ""
        # These may name any shop that an event made up: no label, since labels must not grow without bound.
        known = "" if reason in {"malformed", "refund", "unknown_shop", "ignored"} else self._label(shop)
        child = self._orders_by.get((known, name, reason))
        if child is None:
            child = self._orders_by[known, name, reason] = self._orders.labels(known, name, reason)
        child.inc()
        self._settle_seconds.observe(milliseconds / 1000)
        self._last_settled.set(at)
        more: dict[str, Any] = {"reason": reason, "detail": detail} if reason else {}
        if status is not None:
            more["status"] = status
        level = self._log.info
        match outcome:
            case Retry(after=after):
                level = self._log.warning
                if after is not None:
                    more["retry_in_seconds"] = round(after, 3)
            case Dead():
                level = self._log.warning
            case Duplicate(conflict=conflict) if conflict is not None:
                level = self._log.warning
                self._conflicts.labels(known).inc()
                more |= {"conflict": True, "kept": conflict.kept, "offered": conflict.offered}
        attempt, ms = journey.attempt, round(milliseconds, 1)
        level("settled", outcome=name, shop=shop, order=subject.order, attempt=attempt, ms=ms, **more)

    @cached_property
    def _log(self) -> structlog.typing.FilteringBoundLogger:
        """Bound once: the logger that structlog hands out is bound anew for each line, which takes it 0.7 us."""
        bound: structlog.typing.FilteringBoundLogger = structlog.get_logger("consumer").bind()
        return bound


def describe(outcome: Outcome) -> tuple[str, str, int | None, str]:
    """The words for an outcome: its name, its reason or "", the HTTP status if there was one, and the detail or ""."""
    name = type(outcome).__name__.lower()
    match outcome:
        case Delivered(status) | Duplicate(status):
            return name, "", status, ""
        case Unattributed(ignored):
            return name, "ignored" if ignored else "", None, ignored
        case Retry() | Dead():
            return name, outcome.reason.value, outcome.status, outcome.detail
