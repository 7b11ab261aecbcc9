"""A shop's own Python function that completes an event before it is mapped, for events that hold ids only.

It is found by an entry point of the group `neuroon_consumer.enrich`. What it does is its own affair; here it gets a
time limit, and whatever it raises is told by its type alone, since its text may quote the order.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points

import structlog

GROUP = "neuroon_consumer.enrich"

Enrich = Callable[[object], Awaitable[object]]

log = structlog.get_logger(__name__)


class NoEnrichmentError(Exception):
    """There is no such entry point, or what it names is no async function; the message says what was expected."""


class EnrichmentFailedError(Exception):
    """The event could not be completed this time."""


class Enrichment:
    """One function, called for every event."""

    def __init__(self, name: str, function: Enrich, timeout: float) -> None:
        self._name, self._function, self._timeout = name, function, timeout

    async def complete(self, event: object) -> object:
        """The event as the function leaves it: see `exact`. EnrichmentFailedError if it fails or takes too long."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._function(event)
        except TimeoutError as error:
            raise EnrichmentFailedError(f"enrich {self._name}: no answer within {self._timeout:g} s") from error
        except Exception as error:
            log.warning("enrichment failed", name=self._name, exc_info=error)
            raise EnrichmentFailedError(f"enrich {self._name}: {type(error).__name__}") from error


def load_enrichment(name: str, timeout: float) -> Enrichment:
    """The function behind the entry point `name`. NoEnrichmentError if there is none, or it cannot be imported."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise NoEnrichmentError(f"expected an entry point of the group {GROUP}; installed: {known}")
    try:
        function = found[name].load()
    except Exception as error:
        raise NoEnrichmentError(f"{found[name].value} cannot be imported: {type(error).__name__}: {error}") from error
    if not inspect.iscoroutinefunction(function):
        raise NoEnrichmentError(f"{found[name].value}: expected an async function of one event")
    return Enrichment(name, function, timeout)
