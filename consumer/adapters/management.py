"""RabbitMQ's management API, to look only."""

import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from consumer.adapters.trust import NoTrustError, client_context

SECONDS = 10.0
UNTRUSTED = "its certificate is of no authority that is trusted, or of another name"


class ManagementError(Exception):
    """It could not be asked; the message says why, without the password."""


class NotAllowedError(ManagementError):
    """It does not tell this user."""


def _trusted() -> ssl.SSLContext:
    try:
        return client_context()
    except NoTrustError as error:
        raise ManagementError(str(error)) from error


def _limits(found: list[dict[str, Any]]) -> dict[str, int]:
    """Of a list with one entry at most. A negative number is no limit."""
    return {name: limit for each in found for name, limit in each["value"].items() if limit >= 0}


class Management:
    """One virtual host's view. An async context manager. `url` holds user and password."""

    def __init__(self, url: str, vhost: str) -> None:
        """Raises ManagementError when there is nobody to trust."""
        trusted = _trusted() if url.startswith("https") else False
        base = url.rstrip("/") + "/api/"
        self._client = httpx.AsyncClient(base_url=base, timeout=SECONDS, trust_env=False, verify=trusted)
        self._vhost = quote(vhost, safe="")
        self.skew = 0.0  # seconds by which its clock was ahead of ours at the last answer

    async def overview(self) -> dict[str, Any]:
        """Version and features of the node that answers."""
        found: dict[str, Any] = await self._get("overview")
        return found

    async def nodes(self) -> list[dict[str, Any]]:
        """Alarms and partitions, node by node; needs the tag monitoring."""
        found: list[dict[str, Any]] = await self._get("nodes") or []
        return found

    async def feature_flags(self) -> dict[str, str]:
        """State by name. Needs the tag administrator, at least up to 3.10; NotAllowedError without."""
        return {flag["name"]: flag["state"] for flag in await self._get("feature-flags") or []}

    async def queue(self, name: str) -> dict[str, Any] | None:
        """All about a queue; None if there is none."""
        found: dict[str, Any] | None = await self._get(f"queues/{self._vhost}/{quote(name, safe='')}")
        return found

    async def bindings(self, queue: str) -> list[dict[str, Any]]:
        """What is bound to a queue, the default exchange's own binding included."""
        found: list[dict[str, Any]] = await self._get(f"queues/{self._vhost}/{quote(queue, safe='')}/bindings") or []
        return found

    async def queue_count(self) -> int:
        """How many queues there are in the virtual host."""
        return len(await self._get(f"queues/{self._vhost}?columns=name") or [])

    async def connection_count(self) -> int:
        """How many connections to the virtual host are open; what was opened in the last 5 s may be missing."""
        return len(await self._get(f"vhosts/{self._vhost}/connections?columns=name") or [])

    async def user_connection_count(self, user: str) -> int:
        """How many connections of a user are open, of those that our own user may see."""
        return len(await self._get(f"connections/username/{quote(user, safe='')}?columns=name") or [])

    async def vhost_limits(self) -> dict[str, int] | None:
        """The limits that are set for the virtual host (max-connections, max-queues); None if it does not exist."""
        found = await self._get(f"vhost-limits/{self._vhost}")
        return None if found is None else _limits(found)

    async def user_limits(self, user: str) -> dict[str, int]:
        """The limits that are set for a user: max-connections, max-channels."""
        return _limits(await self._get(f"user-limits/{quote(user, safe='')}") or [])

    async def bound_queues(self, exchange: str) -> list[str]:
        """The names of the queues that are bound to an exchange."""
        path = f"exchanges/{self._vhost}/{quote(exchange, safe='')}/bindings/source"
        found = await self._get(path) or []
        return sorted({each["destination"] for each in found if each["destination_type"] == "queue"})

    async def _get(self, path: str) -> Any:
        try:
            answer = await self._client.get(path)
        except httpx.HTTPError as error:
            why = UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in str(error) else f"no answer: {type(error).__name__}"
            raise ManagementError(why) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise NotAllowedError(f"answered {answer.status_code}")
        if answer.status_code != httpx.codes.OK:
            raise ManagementError(f"answered {answer.status_code}")
        try:
            if "date" in answer.headers:
                self.skew = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
            return answer.json()
        except ValueError as error:
            raise ManagementError("answered something else than RabbitMQ does") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
