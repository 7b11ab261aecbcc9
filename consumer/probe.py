"""`python -m consumer.probe`: whether the program in this container lives, asked as Kubernetes would ask.

For the image's health check; `python -m consumer.probe /readyz` is for those who wait until it consumes. Standard
library only, since it starts every 30 s: about 0.1 s of one core, a tenth of what the whole command line would take.
"""

import os
import sys
import urllib.error
import urllib.request

DEFAULT_ADDRESS = "127.0.0.1:8080"
LIVE_PATH = "/livez"
SECONDS = 4.0


def probe(address: str, path: str = LIVE_PATH) -> str:
    """Why the program does not live, or "". `address` is as in CONSUMER_HTTP_ADDR; "off" cannot be asked."""
    if address.lower() == "off":
        return ""
    host, _, port = address.rpartition(":")
    # What listens everywhere is asked at home.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - not bound to
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{host}:{port}{path}", timeout=SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(2048).decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return f"no answer at {host}:{port}: {error}"


def main() -> int:
    """Exit status 0 when it lives, 1 otherwise."""
    problem = probe(os.environ.get("CONSUMER_HTTP_ADDR", "").rstrip("\r\n") or DEFAULT_ADDRESS, *sys.argv[1:2])
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
