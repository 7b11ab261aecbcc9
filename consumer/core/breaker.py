"""Whether Neuroon, and each shop at it, may be asked at all: states as values, and what leads from one to the next.

The breaker of an API is `Closed` (orders go out), `Open` (none goes out until a time), or `Probing` (one at a time, to
see). A shop is `Free`, `Held` because its set-up is wrong, or `Waiting` because it asked too often. Times are Unix
seconds.
"""

from dataclasses import dataclass, replace

# Failures older than this say nothing of now.
WINDOW_SECONDS = 30.0
# So many different orders must fail, and no fewer than succeed. Orders, not calls: one that Neuroon cannot digest fails
# at each of its tries, and must end in the dead letters instead of stopping the others.
FAILING_ORDERS = 10

FIRST_PAUSE = 0.5
# Full speed is to be back within 5 s of recovery: this, and a second for the first order and the ramp. A dead API is
# asked by one GET each time.
LONGEST_PAUSE = 4.0
# An API that was well for so long begins again with the first pause.
WELL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Closed:
    """Orders go out. `failing` are the orders that failed since `since`, `successes` the calls that did not."""

    failing: frozenset[str] = frozenset()
    successes: int = 0
    since: float = 0.0
    trips: int = 0
    closed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Open:
    """Nothing goes out before `until`. `trips` counts the failures in a row that led here."""

    until: float
    trips: int


@dataclass(frozen=True, slots=True)
class Probing:
    """One order at a time, to see whether the API is back."""

    trips: int


Api = Closed | Open | Probing


def succeeded(api: Api, now: float) -> Api:
    """After an answer that is not the server's failure."""
    match api:
        case Closed():
            if not api.failing:
                return api
            successes = api.successes + 1
            return (
                replace(api, successes=successes) if successes <= len(api.failing) else _well(api.trips, api.closed_at)
            )
        case Probing(trips):
            return _well(trips, now)
        case Open():
            return api  # an answer to an earlier question; the probe will tell


def failed(api: Api, order: str, now: float, needed: int) -> Api:
    """After a failure of the server or the network; `needed` different orders must fail to open."""
    match api:
        case Closed():
            fresh = now - api.since <= WINDOW_SECONDS
            seen = api if fresh else replace(api, failing=frozenset(), successes=0, since=now)
            failing = seen.failing | {order}
            if len(failing) >= needed and len(failing) >= seen.successes:
                return opened(api, now)
            return replace(seen, failing=failing, since=seen.since if seen.failing else now)
        case Probing():
            return opened(api, now)
        case Open():
            return api


def opened(api: Api, now: float) -> Open:
    """The API is known to be down; the pauses double from trip to trip."""
    was_well = isinstance(api, Closed) and now - api.closed_at > WELL_SECONDS
    trips = 0 if was_well else api.trips
    return Open(now + min(FIRST_PAUSE * 2**trips, LONGEST_PAUSE), min(trips + 1, 16))


def _well(trips: int, closed_at: float) -> Closed:
    return Closed(trips=trips, closed_at=closed_at)


@dataclass(frozen=True, slots=True)
class Free:
    """The shop's orders go out."""


@dataclass(frozen=True, slots=True)
class Held:
    """The shop's set-up is wrong, as `status` and `problem` say; one order may try again at `probe_at`."""

    status: int
    problem: str
    probe_at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """The shop asked too often, and may ask again at `until`."""

    until: float


ShopState = Free | Held | Waiting
