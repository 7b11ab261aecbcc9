"""Every state that a scenario can reach, and what must hold in it."""

from tests.settlement.broker import DEAD, Message
from tests.settlement.state import state_of
from tests.settlement.world import KILLER, POISON, Choice, Scenario, World

# From any state, with the faults over, all is quiet after fewer steps than this.
MOST_STEPS = 200


class Broken(Exception):  # noqa: N818 - an invariant that does not hold is what is looked for
    """What does not hold, and the choices that lead there."""

    def __init__(self, what: str, path: tuple[Choice, ...]) -> None:
        super().__init__("\n  ".join([what, *(" ".join(map(str, choice)) for choice in path)]))
        self.what = what


def explore(scenario: Scenario) -> int:
    """Visit all states, depth first; how many there are. Raises Broken.

    Coroutines cannot be copied, so that a branch is reached by making its choices again from the beginning.
    """
    seen: set[object] = set()
    calm: set[object] = set()
    branches: list[tuple[Choice, ...]] = [()]
    while branches:
        path = branches.pop()
        world = _replay(scenario, path)
        while (state := (state_of(world), tuple(sorted(world.left.items())))) not in seen:
            seen.add(state)
            _check(world, path)
            if state[0] not in calm:
                calm |= _come_to_rest(_replay(scenario, path), path, calm)
            if not world.left.total() or not (choices := world.choices()):
                break  # with no fault left to come, the way to rest has shown what follows
            branches += [(*path, choice) for choice in choices[1:]]
            path = (*path, choices[0])
            world.apply(choices[0])
    return len(seen)


def _replay(scenario: Scenario, path: tuple[Choice, ...]) -> World:
    world = World(scenario)
    for choice in path:
        world.apply(choice)
    return world


def _check(world: World, path: tuple[Choice, ...]) -> None:
    """What must hold in every state."""
    broker = world.broker
    for problem in broker.problems:
        raise Broken(problem, path)
    copies = broker.copies()
    for name in world.scenario.orders:
        if not copies[name] and name not in world.posted:
            raise Broken(f"order {name} is lost", path)
        if copies[name] > 1 + world.unconfirmed[name]:
            raise Broken(f"order {name} was copied, though no confirm was lost", path)
    for message in (*broker.queues[DEAD], *broker.dying):
        if message.name[0] not in POISON:
            raise Broken(f"the good order {message.name} is dead-lettered, returned {message.count} times", path)
        _check_dead(message, path)
    if world.session is not None and world.rabbit.in_flight < len(broker.unacked):
        raise Broken("a delivery is in flight, and no task works on it", path)


def _check_dead(message: Message, path: tuple[Choice, ...]) -> None:
    """Only what kills the process is dead-lettered by the broker; the rest is by us, with its reason."""
    if message.name[0] != KILLER and "x-neuroon-reason" not in message.headers:
        raise Broken(f"order {message.name} is dead-lettered without its reason", path)


def _come_to_rest(world: World, path: tuple[Choice, ...], calm: set[object]) -> set[object]:
    """With the faults over, let everything happen that is due: all good orders arrive, and nothing is left behind.

    `calm` are states from which that is known; returns those that were passed.
    """
    passed: set[object] = set()
    world.left.clear()
    for _ in range(MOST_STEPS):
        state = state_of(world)
        if state in calm:
            return passed
        passed.add(state)
        _check(world, path)
        choices = world.choices()
        if not choices:
            _check_rest(world, path)
            return passed
        choice = min(choices, key=_urgency)
        path = (*path, choice)
        world.apply(choice)
    raise Broken(f"no rest after {MOST_STEPS} steps", path)


def _urgency(choice: Choice) -> int:
    """What happens first when nothing breaks any more; a poison order kills only when all others are through."""
    order = ("accept", "open", "lost", "nack", "confirm", "pause ends", "post", "malformed", "raise", "time passes")
    return {word: number for number, word in enumerate((*order, "expire", "kill"))}.get(
        str(choice[-1] if choice[0] == "answer" else choice[0]), len(order) + 2
    )


def _check_rest(world: World, path: tuple[Choice, ...]) -> None:
    broker = world.broker
    dead = {message.name for message in broker.queues[DEAD]}
    for name in world.scenario.orders:
        if name[0] in POISON and name not in dead:
            raise Broken(f"poison {name} is not dead-lettered", path)
        if name[0] not in POISON and name not in world.posted:
            raise Broken(f"the good order {name} is not delivered", path)
    waiting = [queue for queue, messages in broker.queues.items() if messages and queue != DEAD]
    if broker.main or broker.unacked or broker.dying or waiting or world.rabbit.in_flight:
        raise Broken("something is left behind", path)
