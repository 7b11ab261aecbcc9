"""Answers read into replies."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.reply import (
    MAX_RETRY_AFTER,
    PROBLEM_LENGTH,
    Answer,
    problem,
    read_owner,
    read_reply,
    retry_after,
)

KEY = SecretStr("sk_0123456789abcdef0123456789abcdef")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


def read(answer: Answer, *, known_conflicts: bool = False) -> Reply:
    return read_reply(answer, key=KEY, known_conflicts=known_conflicts, now=NOW)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def problem_of(body: object, status: int = 400) -> str:
    return problem(Answer(status, as_json(body)), KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Accepted) for status in (200, 201, 202, 204, 299)),
        *((status, Misconfigured) for status in (300, 301, 302, 304, 307, 308, 401, 402, 403, 404, 407, 423, 451)),
        *((status, Refused) for status in (400, 405, 409, 410, 413, 415, 418, 422, 499)),
        *((status, Unavailable) for status in (408, 421, 425, 500, 501, 502, 503, 504, 599, 100, 199, 600, 999, 0)),
        (429, Throttled),
    ],
)
def test_status(status: int, kind: type[Reply]) -> None:
    """Every status has its place in the table, and the reply carries it."""
    reply = read(Answer(status))
    assert type(reply) is kind
    assert reply.status == status


def test_known_conflict() -> None:
    """A 409 is "recorded before" only where the settings say so; nothing else changes with that setting."""
    assert read(Answer(409), known_conflicts=True) == AlreadyKnown(409)
    assert read(Answer(400, b"no"), known_conflicts=True) == Refused(400, "no")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 408, 409, 413, 421, 422, 423, 425, 429, 451, 500, 503, 504])
def test_wait_from_header(status: int) -> None:
    """Whoever asks for a wait gets it, whatever the answer is beside that."""
    reply = read(Answer(status, retry_after="3"))
    assert isinstance(reply, Throttled | Unavailable | Misconfigured | Refused)
    assert reply.after == 3.0


def test_no_wait_is_read_from_the_body_of_a_refusal() -> None:
    """Only the header makes a refusal one for now: an error body may have the field in every error."""
    assert read(Answer(400, b'{"message": "no", "retryAfter": 0}')) == Refused(400, "no")


@pytest.mark.parametrize(
    ("content_type", "body", "shown"),
    [
        ("text/html", b"<html><title>Just a moment...</title></html>", ": Just a moment..."),
        ("text/html; charset=UTF-8", b"ok", ": ok"),
        ("TEXT/HTML", b"", ""),
        ("application/xhtml+xml", b"<x/>", ""),
        (None, b"<!DOCTYPE html>\n<html><body>Checking your browser</body>", ": Checking your browser"),
        ("application/json", b"\n <HTML>no</HTML>", ": no"),
        (None, b'<?xml version="1.0"?>\n<html xmlns="x">no</html>', ": no"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_page_is_no_delivery(status: int, content_type: str | None, body: bytes, shown: str) -> None:
    """A firewall's challenge with a 2xx, by its type or by its first tag, holds the shop; a setting lets it pass."""
    answer = Answer(status, body, content_type=content_type)
    assert read(answer) == Misconfigured(status, f"an HTML page instead of Neuroon's answer{shown}")
    passed = read_reply(answer, key=KEY, known_conflicts=False, now=NOW, accept_any_2xx=True)
    assert passed == Accepted(status)


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "application/json", b'{"status":"recorded"}'),
        (200, "application/json", b'"<html>"'),
        (200, "text/plain", b"ok"),
        (200, None, b"<htmlish>"),
        (200, None, b"<recorded/>"),
        (204, "text/html", b""),
    ],
)
def test_what_is_no_page_is_a_delivery(status: int, content_type: str | None, body: bytes) -> None:
    """Nobody documents the body of a 2xx, so that any other than a page will do; a 204 has none, whatever its type."""
    assert read(Answer(status, body, content_type=content_type)) == Accepted(status)


@pytest.mark.parametrize(
    "body", [{"error": {"code": "RATE", "message": "slow down", "retryAfter": 7}}, {"retryAfter": "7"}]
)
def test_wait_from_body(body: object) -> None:
    """Without the header, a retryAfter in the body serves; with it, the header wins even where it is nonsense."""
    text = as_json(body)
    assert read(Answer(429, text)) == Throttled(429, 7.0)
    assert read(Answer(429, text, retry_after="9")) == Throttled(429, 9.0)
    assert read(Answer(429, text, retry_after="soon")) == Throttled(429, None)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error": "no"}', b'{"retryAfter": null}', b'{"retryAfter": true}'])
def test_no_wait(body: bytes) -> None:
    """An answer that asks for no wait, or in no way that can be understood, has none."""
    assert read(Answer(429, body)) == Throttled(429, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
        ("Sun, 01 Mar 2026 11:59:30 GMT", 0.0),
        ("999999999", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER),
        (None, None),
        ("", None),
        ("-5", None),
        ("3s", 3.0),
        ("1m0s", 60.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("500ms", 0.5),
        ("1h2m3.5S", 3723.5),
        ("30 seconds", 30.0),
        ("1 min 30 sec", 90.0),
        ("8d", MAX_RETRY_AFTER),
        ("30, 120", 120.0),
        ("120,30", 120.0),
        ("30, soon", 30.0),
        ("5, Sun, 01 Mar 2026 12:00:30 GMT, Sunday, 01-Mar-26 12:02:00 GMT, 7", 120.0),
        ("3x", None),
        ("3s4", None),
        ("s", None),
        (",", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٣", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
        ("Sun, 01 Mar 2026 12:00:30 +99999999", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds, with a unit or without, or a date in one of HTTP's three forms; the longest of several; 0 to a week."""
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_retry_after_any_text(value: str) -> None:
    """No text is an error, and every number that comes of one is a wait."""
    found = retry_after(value, NOW)
    assert found is None or 0.0 <= found <= MAX_RETRY_AFTER


@given(st.integers(0, 600_000))
def test_retry_after_date(ahead: int) -> None:
    """A date so far ahead is a wait so long."""
    due = datetime.fromtimestamp(NOW + ahead, UTC)
    assert retry_after(format_datetime(due, usegmt=True), NOW) == ahead


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"timestamp": "2026-03-01", "status": 400, "error": "Bad Request", "message": "a, b", "path": "/x"},
            "a, b",
        ),
        ({"status": 400, "error": "Bad Request", "message": "", "path": "/x"}, "Bad Request"),
        ({"code": "INVALID", "message": "wrong", "details": {"field": "x"}}, "wrong"),
        ({"code": "INVALID", "details": ["x is blank", "y is blank"]}, "x is blank, y is blank"),
        ({"error": {"code": "RATE", "message": "slow down", "retryAfter": 3}}, "slow down"),
        ({"title": "No", "detail": "no such thing"}, "no such thing"),
        ("just text", "just text"),
        (["one", {"message": "two"}], "one, two"),
        ({"else": 1}, '{"else": 1}'),
    ],
)
def test_problem_of_json(body: object, text: str) -> None:
    """The text that a person would look for, in each shape of error body that is documented."""
    assert problem_of(body) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"plain words", "plain words"),
        (b"<html><head><title>403 Forbidden</title></head>\n<body>no</body></html>", "403 Forbidden no"),
        (b"", "answered 400 Bad Request"),
        (b"\x00\x01\xff\xfe", "answered 400 Bad Request"),
        (b"two\r\nlines\x1b[31m", "two lines [31m"),
        ("bidi \u202e and \u2028 end".encode(), "bidi and end"),
        (b'{"message": "cut o', '{"message": "cut o'),
        (b'{"error":' * 900 + b'"deep"' + b"}" * 900, '{"error":' * 33 + '{"…'),
        (b"[" * 60_000, "[" * 299 + "…"),
    ],
)
def test_problem_of_other_bodies(body: bytes, text: str) -> None:
    """Where it is no JSON the first readable text is shown, on one line; where there is none, the status."""
    assert problem(Answer(400, body), KEY) == text


def test_problem_of_an_unknown_status() -> None:
    """A status that has no name is shown as its number."""
    assert problem(Answer(499), KEY) == "answered 499"


def test_redirection() -> None:
    """A redirect says where to, since that shows what the base URL should be; but not its query."""
    reply = read(Answer(302, location="https://www.neuroon.example/login?token=abc"))
    assert reply == Misconfigured(302, "redirected to https://www.neuroon.example/login")
    assert read(Answer(304)) == Misconfigured(304, "answered 304 Not Modified")


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY.get_secret_value()} is wrong",
        f"key '{KEY.get_secret_value().upper()}' is wrong",
        "key sk_ffffffffffffffffffffffffffffffff of another shop",
        "sk_ffff",
        f"api_key_{KEY.get_secret_value()}",
        " " * 4090 + KEY.get_secret_value(),
        "x" * 290 + " " + KEY.get_secret_value(),
    ],
)
def test_no_key_in_a_problem(text: str) -> None:
    """No key is shown, be it this shop's, another's, or the beginning of one; where it stood can still be seen."""
    for shown in (problem_of({"message": text}), problem(Answer(401, text.encode()), KEY)):
        assert "0123" not in shown.lower()
        assert "ffff" not in shown
        assert "sk_***" in shown or len(shown) == PROBLEM_LENGTH


def test_key_of_another_form() -> None:
    """This shop's key is hidden whatever it looks like, and an empty one hides nothing."""
    assert problem(Answer(401, b"key pass-word is wrong"), SecretStr("pass-word")) == "key sk_*** is wrong"
    assert problem(Answer(401, b"task_force1 is wrong"), SecretStr("")) == "task_force1 is wrong"


def test_no_key_in_a_location() -> None:
    """A redirect that repeats the key does not bring it into the logs."""
    reply = read(Answer(302, location=f"https://h.example/{KEY.get_secret_value()}/"))
    assert reply == Misconfigured(302, "redirected to https://h.example/sk_***/")


@given(st.binary(max_size=2000) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(as_json))
def test_problem_of_anything(body: bytes) -> None:
    """Whatever the body, the problem is one short printable line that is not empty."""
    shown = problem(Answer(400, body), KEY)
    assert shown
    assert shown.isprintable()
    assert len(shown) <= PROBLEM_LENGTH


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"[]", b'{"id": 7}', b'{"id": "4711"}', b'{"shopId": "shop_a"}', b'{"id": "shop_a"}']
)
def test_owner_who_may_be_this_shop(body: bytes) -> None:
    """An answer that names this shop, or none that can be recognised, is good."""
    assert read_owner(Answer(200, body), "shop_a") == Accepted(200)


@pytest.mark.parametrize(
    "body", [b'{"shopId": "shop_b"}', b'{"id": "shop_b"}', b'{"id": "shop_a", "shopId": "shop_b"}']
)
def test_owner_who_is_another_shop(body: bytes) -> None:
    """A key that works, but for another shop, is found out."""
    assert isinstance(read_owner(Answer(200, body), "shop_a"), Misconfigured)
