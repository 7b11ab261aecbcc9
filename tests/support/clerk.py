"""A user at the broker with the rights that docs/topology.md names, and no others."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from consumer.adapters.link import virtual_host
from consumer.devbroker import PrivateBroker
from tests.conftest import Names

DOCS = Path(__file__).parents[2] / "docs/topology.md"
RIGHT = r"\| `CONSUMER_DECLARE={}` \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|"


@dataclass
class Clerk:
    """A user of one virtual host with few rights. `url`: as AMQP_URL; `management`: as RABBITMQ_MANAGEMENT_URL."""

    url: str
    management: str
    host: str
    admin: httpx.AsyncClient

    async def may(self, declaring: str, names: Names) -> None:
        """Give it the rights that the documentation names, for this test's queues and exchange."""
        found = re.search(RIGHT.format(declaring), DOCS.read_text())
        assert found is not None
        ours = [
            each.replace(r"neuroon\.conversions", re.escape(names.queue)).replace(
                r"order\.paid", re.escape(names.exchange)
            )
            for each in found.groups()
        ]
        rights = dict(zip(("configure", "write", "read"), ours, strict=True))
        (await self.admin.put(f"/api/permissions/{self.host}/clerk-{self.host}", json=rights)).raise_for_status()


@asynccontextmanager
async def hired(broker: PrivateBroker, vhost: str) -> AsyncIterator[Clerk]:
    """A clerk with the tag monitoring and no rights yet."""
    host = virtual_host(vhost)
    own = f"clerk-{host}:pw@"
    async with httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as admin:
        user = {"password": "pw", "tags": "monitoring"}
        (await admin.put(f"/api/users/clerk-{host}", json=user)).raise_for_status()
        yield Clerk(vhost.replace("guest:guest@", own), broker.management_url.replace("guest:guest@", own), host, admin)
        (await admin.delete(f"/api/users/clerk-{host}")).raise_for_status()
