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

from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.value import value

# Longest wait that a server may ask for. A week is as long as an order is held by default; more is a slip of theirs.
MAX_RETRY_AFTER = 7 * 24 * 3600.0

# A problem travels in a message header and in a log line; the rest of a long text says no more than its beginning.
PROBLEM_LENGTH = 300

# The status of a reply to a request that was never sent, because it could not be built.
NOT_SENT = 0

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
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
    """One HTTP answer, as far as it matters. `body` may be only the beginning; the headers are None when absent."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    location: str | None = None


def read_reply(answer: Answer, *, key: SecretStr, known_conflicts: bool, now: float) -> Reply:
    """The reply that an answer amounts to. No key, neither `key` nor one that looks like it, is left in its text.

    `now` is POSIX time in seconds, for a Retry-After that is a date. `known_conflicts` says that a 409 means "this
    order is recorded already"; the vendor does not document it, so without it a 409 is a refusal like any other.

    ==========================  =====================================
    status                      reply
    ==========================  =====================================
    2xx                         Accepted
    409                         AlreadyKnown if so set, else Refused
    429                         Throttled
    401, 403, 404, every 3xx    Misconfigured
    408, 425, every 5xx         Unavailable
    every other 4xx             Refused
    anything else               Unavailable: no status that HTTP has
    ==========================  =====================================
    """
    status = answer.status
    match status:
        case 409 if known_conflicts:
            return AlreadyKnown(status)
        case 429:
            return Throttled(status, _wait(answer, now))
        case 401 | 403 | 404:
            return Misconfigured(status, problem(answer, key))
        case 408 | 425:
            return Unavailable(f"answered {status}", status, _wait(answer, now))
    match status // 100:
        case 2:
            return Accepted(status)
        case 3:
            return Misconfigured(status, _redirection(answer, key))
        case 4:
            return Refused(status, problem(answer, key))
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

    A date that has passed is 0, nonsense is None, and nothing is longer than `MAX_RETRY_AFTER`.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
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
