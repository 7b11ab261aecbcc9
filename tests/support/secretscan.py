"""Looks for secrets in every file that git knows: `python -m tests.support.secretscan`. Invented ones are known."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LARGEST = 2_000_000

PATTERNS = {
    "an API key of Neuroon": re.compile(r"sk_(?P<secret>[0-9a-f]{32})(?![0-9a-f])"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?P<secret>)"),
    "a key of AWS": re.compile(r"(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})(?![0-9A-Z])"),
    "a token of GitHub": re.compile(r"(?P<secret>gh[pousr]_[A-Za-z0-9]{36})"),
    "a token of Slack": re.compile(r"(?P<secret>xox[abprs]-[A-Za-z0-9-]{20,})"),
    "a password in a URL": re.compile(r"[a-z][a-z0-9+]*://[^\s:/@'\"`{}<>$]+:(?P<secret>[^\s/@'\"`{}<>$]+)@"),
}
# What examples use: repeated digits for keys, and words that say what they are for passwords.
INVENTED_KEY = re.compile(r"(..?)\1+|0123456789abcdef.*|[0-9a-f]*(?:dead|beef|cafe)[0-9a-f]*")
INVENTED_PASSWORDS = frozenset({"guest", "neuroon", "development", "password", "secret", "p", "pw", "hush", "hunter2"})


def secrets(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and kinds of what looks like a real secret; never the secret itself."""
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in PATTERNS.items():
            for found in pattern.finditer(line):
                if not _is_invented(kind, found["secret"]):
                    yield number, kind


def _is_invented(kind: str, secret: str) -> bool:
    if kind == "a password in a URL":
        return secret in INVENTED_PASSWORDS or not re.search(r"[A-Za-z0-9]", secret)
    return kind == "an API key of Neuroon" and bool(INVENTED_KEY.fullmatch(secret))


def scan() -> list[str]:
    """A line for each finding in the files that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    found = []
    for name in filter(None, listed.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path.stat().st_size <= LARGEST:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}:{number}: {kind}" for number, kind in secrets(text)]
    return found


if __name__ == "__main__":
    problems = scan()
    print("\n".join(problems) or "no secret found")
    sys.exit(bool(problems))
