"""When a shop is asked again that was held or throttled: by one order at a time, and soon."""

import pytest
from pydantic import SecretStr

from consumer.admission.shops import LINGER_SECONDS, ShopStates
from consumer.core.outcome import Accepted, Misconfigured, Refused, Reply, Retry, RetryReason, Throttled, Unavailable
from consumer.core.shop import Shop

SHOP = Shop("shop_a", SecretStr("sk_a"), "https://api.example")
WEEK = 604_800.0


class World:
    """A shop, a clock that the test moves, and how often the states of held shops changed."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.changes = 0
        self.states = ShopStates(lambda: self.now, 60.0, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def learn(self, reply: Reply) -> None:
        self.states.learn(SHOP, reply)

    def try_again(self) -> float | None:
        """Seconds that an order is to wait; None when it may be posted."""
        wait = self.states.wait(SHOP, 3)
        if wait is None:
            return None
        assert (wait.reason, wait.next_attempt, wait.status) == (RetryReason.THROTTLED, 3, 429)
        return wait.after

    def probes_until(self, end: float) -> list[float]:
        """When, in seconds from now, an order was let through that comes by each second; all get the same answer."""
        begun, probes = self.now, []
        while self.now < begun + end:
            self.now += 1.0
            if self.try_again() is None:
                probes.append(self.now - begun)
                self.learn(Throttled(429, WEEK))
        return probes


def test_a_short_wait_is_kept_to() -> None:
    """No order before it is over, every order afterwards."""
    world = World()
    world.learn(Throttled(429, 300.0))
    assert world.try_again() == 300.0
    world.now += 299.0
    assert world.try_again() == 1.0
    world.now += 1.0
    assert [world.try_again(), world.try_again()] == [None, None]


def test_a_wait_of_a_week_is_probed_within_minutes() -> None:
    """One order after a minute, then ever more rarely, down to one in five minutes; the others go on waiting."""
    world = World()
    world.learn(Throttled(429, WEEK))
    assert world.probes_until(1500.0) == [60.0, 180.0, 420.0, 720.0, 1020.0, 1320.0]


def test_all_are_free_once_a_probe_has_succeeded() -> None:
    """A week was asked for, and is over with the first answer that is no 429."""
    world = World()
    world.learn(Throttled(429, WEEK))
    world.now += 60.0
    assert world.try_again() is None
    assert world.try_again() == WEEK - 60.0
    world.learn(Accepted(200))
    assert [world.try_again(), world.try_again()] == [None, None]
    assert world.states.throttled() == {}
    world.learn(Throttled(429, WEEK))
    assert world.probes_until(61.0) == [60.0]  # and it begins anew


def test_a_probe_without_an_answer_teaches_nothing() -> None:
    """The next one follows in its time."""
    world = World()
    world.learn(Throttled(429, WEEK))
    world.now += 60.0
    assert world.try_again() is None
    world.learn(Unavailable("timeout"))
    assert world.try_again() is not None
    world.now += 120.0
    assert world.try_again() is None


def test_the_latest_answer_counts() -> None:
    """A probe that is told of seconds ends the week."""
    world = World()
    world.learn(Throttled(429, WEEK))
    world.now += 60.0
    assert world.try_again() is None
    world.learn(Throttled(429, 5.0))
    assert world.try_again() == 5.0
    world.now += 5.0
    assert [world.try_again(), world.try_again()] == [None, None]


def test_a_week_ends_as_well() -> None:
    """Should every probe have been in vain until then."""
    world = World()
    world.learn(Throttled(429, WEEK))
    world.now += WEEK
    assert [world.try_again(), world.try_again()] == [None, None]


@pytest.mark.parametrize("after", [None, 0.0, 20.0, WEEK])
def test_whether_a_shop_is_throttled_can_be_seen(after: float | None) -> None:
    """From its first 429 until an order gets through, or until it may ask again and has not been told off for long."""
    world = World()
    assert world.states.throttled() == {}
    world.learn(Throttled(429, after))
    assert world.states.throttled() == {"shop_a": after or 0.0}
    world.now += (after or 0.0) + LINGER_SECONDS - 1
    assert world.states.throttled() == {"shop_a": 0.0}
    world.now += 1
    assert world.states.throttled() == {}
    world.learn(Throttled(429, after))
    world.learn(Refused(400, "this order only"))
    assert world.states.throttled() == {}
    assert world.changes == 0


def held(world: World) -> bool:
    wait = world.states.wait(SHOP, 3)
    assert wait is None or wait == Retry(RetryReason.HELD, 3, None, "slowly", 403)
    return wait is not None


@pytest.mark.parametrize(("after", "pause"), [(None, 60.0), (5.0, 60.0), (90.0, 90.0), (WEEK, 300.0)])
def test_a_held_shop_is_asked_as_late_as_it_asks_for(after: float | None, pause: float) -> None:
    """A 403 may carry a wait, too: firewalls send it to who was too quick."""
    world = World()
    world.learn(Misconfigured(403, "slowly", after))
    world.now += pause - 1
    assert held(world)
    world.now += 1
    assert not held(world)
    assert held(world)
    world.learn(Accepted(200))
    assert not held(world)
    assert world.changes == 2


def test_a_held_shop_whose_probe_is_throttled_stays_held() -> None:
    """A 429 does not say that the key is right; it only puts the next probe off."""
    world = World()
    world.learn(Misconfigured(403, "slowly"))
    world.now += 60.0
    assert not held(world)
    world.learn(Throttled(429, 120.0))
    assert list(world.states.held()) == ["shop_a"]
    world.now += 119.0
    assert held(world)
    world.now += 1.0
    assert not held(world)
    assert world.changes == 1
