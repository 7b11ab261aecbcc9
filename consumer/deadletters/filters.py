"""Which dead letters are meant."""

from dataclasses import dataclass, fields

from consumer.core.delivery import read_stamp, stamp
from consumer.deadletters.letter import Letter
from consumer.settings import values


@dataclass(frozen=True, slots=True)
class Filter:
    """Letters that match all that is given. `since` and `until` are times of death in Unix seconds, both included."""

    ids: frozenset[str] = frozenset()
    shop: str | None = None
    reason: str | None = None
    status: int | None = None
    order: str | None = None
    fingerprint: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every letter matches."""
        return self == Filter()

    def matches(self, letter: Letter) -> bool:
        """Whether `letter` is meant. One of which it is not known when it died lies outside every span of time."""
        if self.ids and letter.id not in self.ids:
            return False
        wanted = (self.shop, self.reason, self.status, self.order, self.fingerprint)
        found = (letter.shop, letter.reason, letter.status, letter.order, letter.fingerprint)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        if self.since is None and self.until is None:
            return True
        died_at = letter.died_at
        return died_at is not None and (self.since or 0.0) <= died_at <= (self.until or float("inf"))

    def as_dict(self) -> dict[str, object]:
        """What is given, for a record of what was done."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}
        told = {name: stamp(value) if name in {"since", "until"} else value for name, value in given.items()}
        return {name: sorted(value) if name == "ids" else value for name, value in told.items() if value != frozenset()}


def moment(text: str, now: float) -> float:
    """Unix seconds from RFC 3339 text, or from a duration before `now` such as "2h" or "2h ago"; ValueError."""
    ago = text.removesuffix("ago").strip()
    try:
        return now - values.duration(ago)
    except ValueError:
        found = read_stamp(text.strip())
    if found is None:
        raise ValueError("expected a time such as 2026-01-31T03:00:00Z, or how long ago such as 2h or 3d")
    return found
