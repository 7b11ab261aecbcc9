"""Whether the ledger can be used; one log line a minute while it cannot, and one when it can again."""

import time
from collections.abc import Callable

import structlog

LOG_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Health:
    """Starts well. `on_error` is called at each failure; `clock` gives seconds that only go up."""

    def __init__(self, on_error: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.ok = True
        self.message = "writing"
        self._on_error, self._clock = on_error, clock
        self._logged_at: float | None = None
        self._told = False  # the last line said that it could not be used
        self._failures = 0

    def failed(self, why: str, **facts: object) -> None:
        """The ledger could not be used, or not in time."""
        self.ok, self.message = False, why
        self._failures += 1
        self._on_error()
        now = self._clock()
        if self._logged_at is None or now - self._logged_at >= LOG_SECONDS:
            log.error("ledger not usable, orders go on without it", why=why, failures=self._failures, **facts)
            self._logged_at, self._failures, self._told = now, 0, True

    def worked(self, **facts: object) -> None:
        """The ledger could be used, in time."""
        self.ok, self.message = True, "writing"
        if self._told:  # for each line that said it was not, however often it comes and goes within a minute
            self._told = False
            log.info("ledger usable again", **facts)
