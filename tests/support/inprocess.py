"""The program in the test's own process: quick to start, and its reports can be read."""

import asyncio
from collections.abc import Mapping
from typing import Self

from consumer.app import App, load_shops
from consumer.core.delivery import Journey
from consumer.core.outcome import Outcome
from consumer.core.settlement import Subject
from consumer.pipeline import Report
from consumer.settings import read_settings
from consumer.telemetry import Telemetry
from consumer.tracing import Tracing
from tests.support.eventually import eventually


class _Recording(Telemetry):
    def __init__(self) -> None:
        super().__init__()
        self.reports: list[Report] = []

    def settled(self, outcome: Outcome, subject: Subject, journey: Journey, at: float, milliseconds: float) -> None:
        super().settled(outcome, subject, journey, at, milliseconds)
        self.reports.append(Report(outcome, subject, journey, at, milliseconds))


class InProcess:
    """An `App` that consumes while the context lasts, and drains at its end."""

    def __init__(self, environ: Mapping[str, str], tracing: Tracing | None = None) -> None:
        settings = read_settings(environ)
        self._telemetry = _Recording()
        self.app = App(settings, load_shops(settings, environ), telemetry=self._telemetry, tracing=tracing)
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def reports(self) -> list[Report]:
        """One for each settled message."""
        return self._telemetry.reports

    def outcomes(self, order: str) -> list[str]:
        """How the tries of one order ended, in the order of time."""
        return [type(each.outcome).__name__.lower() for each in self.reports if each.subject.order == order]

    async def stop(self) -> None:
        """Drain and close."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.app.run(self._stop))
        await eventually(lambda: self.app.rabbit.consuming, timeout=30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
