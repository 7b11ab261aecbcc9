"""The kinds of values that settings have: text in, value out, or a ValueError that says what is expected."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from consumer.core.ladder import Rung

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# Names and routing keys are AMQP short strings: at most 255 bytes (AMQP 0-9-1, 4.2.5.3); ours get suffixes.
MAX_NAME_BYTES = 200
MAX_PORT = 65_535


def duration(text: str) -> float:
    """Seconds, more than 0, from text such as "250ms", "5s", "2m", "1h" or "7d"."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("expected a duration above 0 such as 250ms, 5s, 2m, 1h or 7d")
    return seconds


def rung(text: str) -> Rung:
    """A delay queue's time to live, in whole milliseconds; the text becomes part of the queue's name."""
    seconds = duration(text)
    if round(seconds * 1000) < 1:
        raise ValueError("expected a delay of at least 1ms")
    return Rung(text, seconds)


def rungs(text: str) -> tuple[Rung, ...]:
    """The retry ladder from text such as "5s,30s,2m"."""
    return tuple(rung(part.strip()) for part in text.split(","))


def count(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A reader that takes one of `words`, in any case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return text.lower()

    return read


def switch(text: str) -> bool:
    """Whether "on" rather than "off" is said."""
    return one_of("on", "off")(text) == "on"


def name(text: str) -> str:
    """The name of a queue or exchange, or a routing key."""
    if not text or len(text.encode()) > MAX_NAME_BYTES or not text.isprintable():
        raise ValueError(f"expected 1 to {MAX_NAME_BYTES} bytes of printable text")
    return text


def header_value(text: str) -> str:
    """Text that may stand in an HTTP header: visible ASCII (RFC 9110, 5.5)."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("expected visible ASCII characters without spaces")
    return text


def url(*schemes: str) -> Callable[[str], str]:
    """A reader of URLs of these schemes with a host; a trailing slash is dropped."""

    def read(text: str) -> str:
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"expected a URL such as {schemes[-1]}://host")
        return text

    return read


def base_url(text: str) -> str:
    """An http or https URL to append paths to: no credentials, no query, no fragment, no trailing slash.

    It stands in logs and readiness messages, where a password must not.
    """
    parts = urlsplit(url("http", "https")(text))
    if "@" in parts.netloc:
        raise ValueError("expected a URL without user and password")
    if parts.query or parts.fragment:
        raise ValueError("expected a URL without ? and #")
    return text.rstrip("/")


def address(text: str) -> tuple[str, int] | None:
    """Host and port from "127.0.0.1:8080", "[::1]:8080" or ":8080" (all addresses); None from "off"."""
    if text.lower() == "off":
        return None
    host, separator, port = text.rpartition(":")
    if not separator or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT:
        raise ValueError("expected host:port such as 127.0.0.1:8080, or off")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - what a port without a host means elsewhere too


def ledger_url(text: str) -> str:
    """The ledger's place: sqlite:///path, postgresql://..., memory:// or none."""
    if text in {"none", "memory://"} or (text.startswith("sqlite:///") and len(text) > len("sqlite:///")):
        return text
    # Without anything behind it, whatever server runs on this machine would become the ledger.
    if text.startswith(("postgresql://", "postgres://")) and not text.endswith("://"):
        return text
    raise ValueError("expected sqlite:///path, postgresql://user@host/database, memory:// or none")
