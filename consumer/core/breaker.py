"""Whether Neuroon, and each shop at it, may be asked at all: states as values, and what leads from one to the next.

The breaker of an API is `Closed` (orders go out), `Open` (none goes out until a time), or `Probing` (one at a time, to
see). `failing` and `recent` name orders that failed while none succeeded. A shop is `Free`, `Held` because its set-up
is wrong, or `Waiting` because it asked too often. Times are seconds of one clock that never jumps.
"""

from dataclasses import dataclass, replace

# Failures older than this say nothing of now.
WINDOW_SECONDS = 30.0
# So many different orders must fail, and no fewer than succeed. Orders, not calls: one that Neuroon cannot digest fails
# at each of its tries, and must end in the dead letters instead of stopping the others.
FAILING_ORDERS = 10

# So many times `needed` failed probes are remembered. In an outage the probes go through the orders that wait: ten or
# more of them show up among twenty probes. Fewer that come again and again are all that there is.
RECENT_ROUNDS = 2

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
    recent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probing:
    """One order at a time, to see whether the API is back."""

    trips: int
    recent: tuple[str, ...] = ()


Api = Closed | Open | Probing


def tells(api: Api, begun: float) -> bool:
    """Whether an answer to what was asked at `begun` says anything of now.

    What was asked before an outage is still answered in it, after the first failures of what was asked later.
    """
    return not (isinstance(api, Closed) and api.failing and begun < api.since)


def succeeded(api: Api, now: float) -> Api:
    """After an answer that `tells`, and is not the server's failure."""
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
    """After a failure of the server or the network; `needed` different orders must fail to open.

    A probe that fails opens again. But when the same few orders have failed at every probe, the fault is theirs: the
    API is no longer thought to be down, and what follows counts as at any other time.
    """
    match api:
        case Closed():
            fresh = now - api.since <= WINDOW_SECONDS
            seen = api if fresh else replace(api, failing=frozenset(), successes=0, since=now)
            failing = seen.failing | {order}
            if len(failing) >= needed and len(failing) >= seen.successes:
                return opened(api, now, tuple(sorted(failing)))
            return replace(seen, failing=failing, since=seen.since if seen.failing else now)
        case Probing(trips, before):
            recent = (*before, order)[-RECENT_ROUNDS * needed :]
            if order in before and len(set(recent)) < needed:
                return Closed(frozenset(recent), 0, now, trips, now)
            return opened(api, now, recent)
        case Open():
            return api


def opened(api: Api, now: float, recent: tuple[str, ...] = ()) -> Open:
    """The API is known to be down; the pauses double from trip to trip.

    `recent`: the orders by whose failures that is known; none when the API itself has said so.
    """
    was_well = isinstance(api, Closed) and now - api.closed_at > WELL_SECONDS
    trips = 0 if was_well else api.trips
    return Open(now + min(FIRST_PAUSE * 2**trips, LONGEST_PAUSE), min(trips + 1, 16), recent)


def answered(api: Open) -> Probing:
    """The API has answered a question that is no order."""
    return Probing(api.trips, api.recent)


def rested(api: Probing, now: float, needed: int) -> Api:
    """No order came for `WINDOW_SECONDS` to be tried: up, as far as it answers; unless too many orders said no."""
    return api if len(set(api.recent)) >= needed else _well(api.trips, now)


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
    """The shop asked too often, as `status` says, and is to ask again at `until`.

    Where that is far away one order may try at `probe_at`; `probes` have done so in vain.
    """

    status: int
    until: float
    probe_at: float
    probes: int = 0


ShopState = Free | Held | Waiting
