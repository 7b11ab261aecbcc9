"""Asks for known holes in what is shipped: `python -m tests.support.audit`. No answer is told, and is no failure."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = "requirements/otel.txt"  # the runtime, and the extra
SECONDS = 120


def told(report: str, error: str) -> tuple[bool, str]:
    """Whether all is good as far as is known, and the words for it, from what pip-audit printed."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        last = error.strip().splitlines()[-1:] or ["no answer"]
        return True, f"{LOCK} not audited, the database of holes cannot be asked: {last[0][:200]}"
    bad = [f"{each['name']} {each['version']}: {hole['id']}" for each in packages for hole in each.get("vulns", ())]
    skipped = sum("skip_reason" in each for each in packages)
    if bad:
        return False, "known holes:\n" + "\n".join(f"  {line}" for line in bad)
    if skipped:
        return (
            True,
            f"{LOCK}: {skipped} of {len(packages)} packages not audited: the database does not answer here",
        )
    return True, f"{LOCK}: no known hole in {len(packages)} packages"


def main() -> int:
    """Exit status 1 for a known hole."""
    command = [
        str(Path(sys.executable).parent / "pip-audit"),
        *("--requirement", LOCK, "--require-hashes", "--disable-pip"),
        *("--progress-spinner", "off", "--timeout", "10", "--format", "json"),
    ]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
        good, words = told(done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        good, words = told("", f"no answer within {SECONDS} s")
    print(words)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
