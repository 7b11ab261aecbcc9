"""What `run` logs of the surroundings once it is connected: the same findings as `check`, where they are not good."""

import asyncio
from collections.abc import Callable

import structlog

from consumer.adapters.link import user_name, virtual_host
from consumer.adapters.topology import Topology
from consumer.doctor.budgets import longest_delivery
from consumer.doctor.finding import Level
from consumer.doctor.management import check_management
from consumer.settings import Settings

LINK_POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


async def report_surroundings(settings: Settings, wanted: Topology, linked: Callable[[], bool]) -> None:
    """Ask the management API once, as soon as `linked` says that the queues have been declared; log what is wrong."""
    if settings.rabbitmq_management_url is None:
        return
    while not linked():  # noqa: ASYNC110 - a link comes and goes: there is no one event for it
        await asyncio.sleep(LINK_POLL_SECONDS)
    url = settings.amqp_url.get_secret_value()
    findings = await check_management(
        settings.rabbitmq_management_url.get_secret_value(),
        virtual_host(url),
        wanted,
        longest_delivery(settings),
        user_name(url),
    )
    for finding in findings:
        if finding.level is not Level.OK:
            log.warning("check failed", check=finding.check, why=finding.message, cure=finding.cure)
