"""The scans of `make check` find what they are for."""

import json

import pytest

from tests.support.audit import told
from tests.support.secretscan import scan, secrets

REAL = "3f9c1e7ab2d84560c7e1f09a6b5d2e84"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f"api_key = 'sk_{REAL}'", "an API key of Neuroon"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "a private key"),
        ("AKIA" + "IOSFODNN7ABCDEFG", "a key of AWS"),
        ("ghp" + "_" + "a1" * 18, "a token of GitHub"),
        ("amqp://prod:" + "Tr0ub4dor@broker/", "a password in a URL"),
    ],
)
def test_a_planted_secret_is_found(line: str, kind: str) -> None:
    """By line and kind; the secret itself is not repeated."""
    assert list(secrets(f"first\n{line}\n")) == [(2, kind)]


@pytest.mark.parametrize(
    "line",
    ["sk_" + "1a" * 16, "amqp://guest:guest@localhost/", "amqps://user:password@broker/", "https://example.com/a@b"],
)
def test_an_example_is_none(line: str) -> None:
    """Invented keys and passwords, as the documentation has them, are known."""
    assert list(secrets(line)) == []


def test_the_repository_holds_no_secret() -> None:
    """In no file that git knows."""
    assert scan() == []


def test_a_known_hole_fails_and_silence_is_told() -> None:
    """pip-audit's report of a hole is a failure; no report, or packages not asked for, are said to be so."""
    package = {"name": "aiohttp", "version": "1.0", "vulns": []}
    assert told(json.dumps({"dependencies": [package]}), "") == (
        True,
        "requirements/otel.txt: no known hole in 1 packages",
    )
    good, words = told(json.dumps({"dependencies": [package | {"vulns": [{"id": "PYSEC-1"}]}]}), "")
    assert not good
    assert "aiohttp 1.0: PYSEC-1" in words
    good, words = told(json.dumps({"dependencies": [{"name": "aiohttp", "skip_reason": "not found"}]}), "")
    assert good
    assert "1 of 1 packages not audited" in words
    good, words = told("", "Traceback\nConnectionError: no network")
    assert good
    assert "not audited" in words
