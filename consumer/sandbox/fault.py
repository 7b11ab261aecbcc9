"""Misbehaviour on request: what goes wrong, and whom it hits.

A fault has one text form, the same on the command line, over HTTP and in tests: `KIND[:OPTION[,OPTION...]]`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from random import Random
from typing import Final

FAULT_HELP: Final = """\
KIND[:OPTION,...], repeatable; of several faults that fit a request the first is taken.

kinds
  503 (any status)  answer with it; nothing is recorded unless it is a 2xx
  drop              close the connection instead of answering; nothing is recorded
  drop-after        record the order, then close the connection
  not-http          answer with bytes that are no HTTP; nothing is recorded
  hang-up           answer as usual, and close the connection when it is used again
  html              answer 200 with an HTML page, as a firewall does; nothing is recorded
  garbage           answer as usual, with random bytes for a body
  empty             answer as usual, with no body
  endless           answer as usual, with a body that never ends
  slow              answer as usual, with a body of one byte every 0.2 s
  delay=2s          answer as usual, that much later (units ms, s, m)

what else it does
  delay=500ms           wait before answering; the order is recorded before the wait
  retry-after=3         header Retry-After: 3, 1m0s, 604800, anything; 30|120 sends it twice
  retry-after-date=3    header Retry-After as a date so many seconds ahead
  location=URL          header Location
  body=KIND             garbage, empty, endless, slow or html, for a status

whom it hits (all must hold; without any, every conversion that is posted)
  share=0.1             that share of them, by chance (the same chance for the same --seed)
  order=ORD-7           this order; order=ORD-* all whose id begins so
  shop=shop_b           this shop
  times=2               the first 2 tries of every order
  count=100             the first 100 requests that it would hit

examples: 503:share=0.1   429:retry-after=3,order=ORD-7   drop-after:times=1   delay=2s:share=0.1   500:body=garbage
"""


class Cut(StrEnum):
    """How an answer is withheld altogether, or the next one on its connection."""

    DROP = "drop"
    DROP_AFTER = "drop-after"
    NOT_HTTP = "not-http"
    HANG_UP = "hang-up"


class Body(StrEnum):
    """What is sent in place of an answer's body."""

    GARBAGE = "garbage"
    EMPTY = "empty"
    ENDLESS = "endless"
    SLOW = "slow"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong (`status` to `body`) and whom it hits (`share` to `count`). `FAULT_HELP` says it for each.

    `delay` and `retry_after_date` are seconds. An `order` that ends in `*` is the beginning of ids.
    """

    status: int | None = None
    cut: Cut | None = None
    delay: float = 0.0
    retry_after: str | None = None
    retry_after_date: float | None = None
    location: str | None = None
    body: Body | None = None
    share: float = 1.0
    order: str | None = None
    shop: str | None = None
    times: int | None = None
    count: int | None = None

    def __str__(self) -> str:
        """The text form; `parse_fault` gives the same fault back."""
        kind = next((name for name in ("cut", "status", "body") if getattr(self, name) is not None), "delay")
        options = [
            self._option(each.name)
            for each in fields(self)
            if each.name != kind and getattr(self, each.name) != each.default
        ]
        head = self._option(kind) if kind == "delay" else str(getattr(self, kind))
        return f"{head}:{','.join(options)}" if options else head

    def _option(self, name: str) -> str:
        value = f"{self.delay:.9g}s" if name == "delay" else getattr(self, name)
        return f"{name.replace('_', '-')}={value}"

    def concerns(self, shop: str, order: str) -> bool:
        """Whether a request for this shop and order (ids, "" when not known) is of those that it may hit."""
        if self.shop is not None and self.shop != shop:
            return False
        if self.order is None:
            return True
        return order.startswith(self.order[:-1]) if self.order.endswith("*") else order == self.order


class FaultError(ValueError):
    """A fault's text cannot be read; the message says which part, and what was expected."""


def parse_fault(text: str) -> Fault:
    """The fault that a text describes. Raises FaultError."""
    kind, _, rest = text.partition(":")
    pieces = [f"delay={kind[6:]}"] if kind.startswith("delay=") else []
    values: dict[str, object] = {} if pieces else _kind(kind, text)
    for piece in (*pieces, *(rest.split(",") if rest else ())):
        name, equals, value = piece.partition("=")
        if not equals or name not in _OPTIONS:
            raise FaultError(f"fault {text!r}: {piece!r} is none of the options {', '.join(_OPTIONS)}, as NAME=VALUE")
        field_name = name.replace("-", "_")
        if field_name in values:
            raise FaultError(f"fault {text!r}: {name} is given twice")
        read, expected = _OPTIONS[name]
        try:
            values[field_name] = read(value)
        except ValueError:
            raise FaultError(f"fault {text!r}: {name} must be {expected}, not {value!r}") from None
    return Fault(**values)  # type: ignore[arg-type]  # each value was made by its own field's reader


def _kind(kind: str, text: str) -> dict[str, object]:
    if re.fullmatch("[2-5][0-9][0-9]", kind):
        return {"status": int(kind)}
    if kind in list(Cut):
        return {"cut": Cut(kind)}
    if kind in list(Body):
        return {"body": Body(kind)}
    kinds = ", ".join((*Cut, *Body))
    raise FaultError(f"fault {text!r}: {kind!r} is neither a status (200 to 599) nor delay=TIME nor one of {kinds}")


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)", text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * _UNITS[found[2]]


def _ahead(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 < share <= 1.0:
        raise ValueError(text)
    return share


def _whole(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ValueError(text)
    return int(text)


def _header(text: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]+", text):
        raise ValueError(text)
    return text


def _id(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


_OPTIONS: dict[str, tuple[Callable[[str], object], str]] = {
    "delay": (_seconds, "a number with a unit, such as 500ms, 2s or 1m"),
    "retry-after": (_header, "printable ASCII"),
    "retry-after-date": (_ahead, "a number of seconds; below 0 is in the past"),
    "location": (_header, "printable ASCII"),
    "body": (Body, f"one of {', '.join(Body)}"),
    "share": (_share, "a number above 0 and up to 1"),
    "order": (_id, "an order id, or the beginning of some and a *"),
    "shop": (_id, "a shop id"),
    "times": (_whole, "a whole number above 0"),
    "count": (_whole, "a whole number above 0"),
}


@dataclass(slots=True)
class Armed:
    """A fault at work: `applied` counts the requests that it hit, `tries` those it saw of each (shop, order)."""

    fault: Fault
    applied: int = 0
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)

    def strikes(self, shop: str, order: str, chance: Random) -> bool:
        """Whether it hits this request. A try that chance spared is still a try."""
        fault = self.fault
        if not fault.concerns(shop, order) or (fault.count is not None and self.applied >= fault.count):
            return False
        if fault.times is not None:
            self.tries[shop, order] += 1
            if self.tries[shop, order] > fault.times:
                return False
        if fault.share < 1.0 and chance.random() >= fault.share:
            return False
        self.applied += 1
        return True


class Faults:
    """The faults at work, in the order in which they are tried; `seed` fixes what chance does."""

    def __init__(self, faults: Iterable[Fault | str] = (), seed: int = 0) -> None:
        self._chance = Random(seed)  # noqa: S311  # a share of requests needs repeatable chance, not secrecy
        self.armed: list[Armed] = []
        self.replace(faults)

    def replace(self, faults: Iterable[Fault | str]) -> None:
        """Put these in place of all others, each one fresh. Raises FaultError and then changes nothing."""
        self.armed = [Armed(parse_fault(each) if isinstance(each, str) else each) for each in faults]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.armed)

    def strike(self, shop: str, order: str) -> Fault | None:
        """The fault that hits this request, if one does."""
        return next((each.fault for each in self.armed if each.strikes(shop, order, self._chance)), None)
