"""What an answer says: status, Retry-After and error body, read into a `Reply`.

The body is a stranger's text. It may be missing, cut off, or something that a proxy on the way made up; the status
alone decides what becomes of the order, and the body only explains it to a person.
"""

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from pydantic import SecretStr

from consumer.core.answerbody import is_page
from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.value import value

# Longest wait that a server may ask for. A week is as long as an order is held by default; more is a slip of theirs.
MAX_RETRY_AFTER = 7 * 24 * 3600.0

# A problem travels in a message header and in a log line; the rest of a long text says no more than its beginning.
PROBLEM_LENGTH = 300

# The status of a reply to a request that was never sent, because it could not be built.
NOT_SENT = 0

# How a problem begins that is a page where Neuroon's answer should be.
HTML_PAGE = "an HTML page instead of Neuroon's answer"
_NO_CONTENT = 204

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
# As Go, Nginx or a person writes a duration: 30s, 1m0s, 500ms, 2 minutes.
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*[a-z]+\s*)+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)")
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
# Between two values of a header that came twice (RFC 9110, 5.3), but not inside a date.
_BETWEEN = re.compile(r"(?<!mon)(?<!tue)(?<!wed)(?<!thu)(?<!fri)(?<!sat)(?<!sun)(?<!day),", re.IGNORECASE)
_KEY = re.compile(r"(?<![0-9a-z])sk_[0-9a-z]{4,}", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_HIDDEN_KEY = "sk_***"

# As much of a text as is looked at, character by character, for the part to show.
_TEXT_LENGTH = 4096

# Where error bodies keep their text, the most telling place first: {message, error, ...}, {error: {message}},
# {code, message, details}, and the `detail` and `title` of RFC 9457.
_TEXT_FIELDS = ("message", "error", "details", "detail", "title", "code")


@value
class Answer:
    """One HTTP answer, as far as it matters.

    `body`, with no compression, may be only the beginning. The headers are None when absent; one that came more than
    once has all its values, with commas between them.
    """

    status: int
    body: bytes = b""
    retry_after: str | None = None
    location: str | None = None
    content_type: str | None = None


def read_reply(
    answer: Answer, *, key: SecretStr, known_conflicts: bool, now: float, accept_any_2xx: bool = False
) -> Reply:
    """The reply that an answer amounts to. No key, neither `key` nor one that looks like it, is left in its text.

    `now` is POSIX time in seconds, for a Retry-After that is a date. `known_conflicts` says that a 409 means "this
    order is recorded already"; the vendor does not document it, so without it a 409 is a refusal like any other.

    A 2xx with an HTML page comes from something that stands before Neuroon, such as a firewall with its challenge, and
    nothing is recorded; `accept_any_2xx` takes it for a delivery all the same.

    ==============================  =====================================
    status                          reply
    ==============================  =====================================
    2xx                             Accepted
    2xx that is an HTML page        Misconfigured, unless so set
    409                             AlreadyKnown if so set, else Refused
    429                             Throttled
    401, 402, 403, 404, 407, 423,   Misconfigured
    451, every 3xx
    408, 421, 425, every 5xx        Unavailable
    every other 4xx                 Refused
    anything else                   Unavailable: no status that HTTP has
    ==============================  =====================================
    """
    status = answer.status
    match status:
        case 409 if known_conflicts:
            return AlreadyKnown(status)
        case 429:
            return Throttled(status, _wait(answer, now))
        case 401 | 402 | 403 | 404 | 407 | 423 | 451:
            return Misconfigured(status, problem(answer, key), retry_after(answer.retry_after, now))
        case 408 | 421 | 425:
            return Unavailable(f"answered {status}", status, _wait(answer, now))
    match status // 100:
        case 2 if accept_any_2xx or status == _NO_CONTENT or not is_page(answer.content_type, answer.body):
            return Accepted(status)
        case 2:
            return Misconfigured(status, _page(answer, key), retry_after(answer.retry_after, now))
        case 3:
            return Misconfigured(status, _redirection(answer, key), retry_after(answer.retry_after, now))
        case 4:
            return Refused(status, problem(answer, key), retry_after(answer.retry_after, now))
        case _:
            return Unavailable(f"answered {status}", status, _wait(answer, now))


def read_owner(answer: Answer, shop_id: str) -> Reply:
    """What a 2xx about "the shop of this key" proves: Misconfigured where it names another shop than `shop_id`.

    The body is not documented. It counts only if it plainly has a shop's id: `shopId`, or `id`, like "shop_...".
    """
    body = _parsed(answer.body)
    owner = body.get("shopId", body.get("id")) if isinstance(body, dict) else None
    if isinstance(owner, str) and owner.startswith("shop_") and owner != shop_id:
        return Misconfigured(answer.status, "the API key belongs to another shop")
    return Accepted(answer.status)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After of seconds or of an HTTP date in any of its three forms (RFC 9110, 5.6.7).

    Seconds may have a unit, which is in no RFC and in many limiters. Of several values the longest counts. A date that
    has passed is 0, nonsense is None, and nothing is longer than `MAX_RETRY_AFTER`.
    """
    waits = [_one_wait(each.strip().lower(), now) for each in _BETWEEN.split((value or "")[:_TEXT_LENGTH])]
    return max((wait for wait in waits if wait is not None), default=None)


def _one_wait(text: str, now: float) -> float | None:
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    if _DURATION.fullmatch(text):
        parts = [(float(number), _UNITS.get(unit)) for number, unit in _PART.findall(text)]
        seconds = [number * unit for number, unit in parts if unit is not None]
        return min(sum(seconds), MAX_RETRY_AFTER) if len(seconds) == len(parts) else None
    try:
        date = parsedate_to_datetime(text)
        due = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(due - now, 0.0), MAX_RETRY_AFTER)


def problem(answer: Answer, key: SecretStr) -> str:
    """One line of at most `PROBLEM_LENGTH` characters on what was wrong; where the answer says nothing, its status."""
    found = _parsed(answer.body)
    text = _text(found) or _TAG.sub(" ", answer.body.decode("utf-8", "ignore"))
    return _tidy(text, key) or f"answered {answer.status}{_phrase(answer.status)}"


def _page(answer: Answer, key: SecretStr) -> str:
    """That it is a page, and what a person would read at its top: most challenges say whose they are."""
    text = _tidy(_TAG.sub(" ", answer.body.decode("utf-8", "ignore")), key)
    return _tidy(f"{HTML_PAGE}: {text}", key) if text else HTML_PAGE


def _redirection(answer: Answer, key: SecretStr) -> str:
    """Where to, but without the query: it may carry anything, and the place alone shows what the base URL should be."""
    if answer.location is None:
        return problem(answer, key)
    return _tidy(f"redirected to {answer.location.partition('?')[0]}", key)


def _wait(answer: Answer, now: float) -> float | None:
    """Seconds from the Retry-After header, else from `retryAfter` in the body, where some pages of the docs show it."""
    if answer.retry_after is not None:
        return retry_after(answer.retry_after, now)
    body = _parsed(answer.body)
    inner = body.get("error") if isinstance(body, dict) else None
    for place in (inner, body):
        if isinstance(place, dict) and (hint := place.get("retryAfter")) is not None:
            return retry_after(str(hint), now)
    return None


def _parsed(body: bytes) -> object:
    """The body as JSON, or None. A nest that is too deep is no JSON worth reading."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(found: object, depth: int = 3) -> str:
    """The text that a person would look for in a JSON body, "" when there is none."""
    if isinstance(found, str):
        return found.strip()
    if isinstance(found, dict) and depth:
        texts = (_text(found.get(name), depth - 1) for name in _TEXT_FIELDS)
        return next((text for text in texts if text), "")
    if isinstance(found, list) and depth:
        texts = (_text(each, depth - 1) for each in found[:10])
        return ", ".join(text for text in texts if text)
    return ""


def _tidy(text: str, key: SecretStr) -> str:
    """Free of keys and of what is not printable, on one line, and short."""
    secret = key.get_secret_value()
    text = _KEY.sub(_HIDDEN_KEY, text.replace(secret, _HIDDEN_KEY) if secret else text)[:_TEXT_LENGTH]
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= PROBLEM_LENGTH else f"{line[: PROBLEM_LENGTH - 1]}…"


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
