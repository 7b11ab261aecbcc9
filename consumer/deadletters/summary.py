"""How much is stuck, whose, why and since when: counts and money, grouped by cause."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from consumer.core.delivery import stamp
from consumer.deadletters.letter import Letter

# Shop, reason, status, fingerprint: one cause at one shop.
Cause = tuple[str | None, str, int | None, str]


@dataclass
class Span:
    """A number of letters, their money by currency, and when the first and last of them died (Unix seconds)."""

    count: int = 0
    value: dict[str, Decimal] = field(default_factory=dict)
    oldest: float | None = None
    newest: float | None = None

    def add(self, letter: Letter) -> None:
        """Count `letter` in. The sums are exact: amounts are rounded to their currency's minor unit before."""
        self.count += 1
        if letter.value is not None and letter.currency is not None:
            self.value[letter.currency] = self.value.get(letter.currency, Decimal(0)) + letter.value
        if letter.died_at is not None:
            self.oldest = letter.died_at if self.oldest is None else min(self.oldest, letter.died_at)
            self.newest = letter.died_at if self.newest is None else max(self.newest, letter.died_at)

    def told(self) -> dict[str, object]:
        """For JSON: amounts as decimal texts, times as RFC 3339."""
        return {
            "value": {currency: str(self.value[currency]) for currency in sorted(self.value)},
            "oldest": None if self.oldest is None else stamp(self.oldest),
            "newest": None if self.newest is None else stamp(self.newest),
        }


@dataclass
class Group(Span):
    """The letters of one cause at one shop; `example` is the detail of one of them, `example_id` its id."""

    shop: str | None = None
    reason: str = ""
    status: int | None = None
    fingerprint: str = ""
    example: str = ""
    example_id: str = ""


@dataclass
class Summary(Span):
    """All letters, and their groups."""

    groups: dict[Cause, Group] = field(default_factory=dict)
    shared: bool = False  # somebody else held letters meanwhile; those are not counted

    def add(self, letter: Letter) -> None:
        """Count `letter` in, here and in its group."""
        super().add(letter)
        cause = (letter.shop, letter.reason, letter.status, letter.fingerprint)
        group = self.groups.get(cause)
        if group is None:
            group = self.groups[cause] = Group(
                shop=letter.shop,
                reason=letter.reason,
                status=letter.status,
                fingerprint=letter.fingerprint,
                example=letter.detail,
                example_id=letter.id,
            )
        group.add(letter)

    def ranked(self) -> list[Group]:
        """The groups, largest first."""
        return sorted(self.groups.values(), key=lambda group: (-group.count, group.shop or "", group.fingerprint))

    def share(self, group: Group) -> float:
        """What part of all letters are in `group`, from 0 to 1."""
        return group.count / self.count if self.count else 0.0

    def as_dict(self) -> dict[str, object]:
        """The shape of `dlq summary --json`."""
        return {"total": self.count, **self.told(), "shared": self.shared, "groups": list(self._told_groups())}

    def _told_groups(self) -> Iterator[dict[str, object]]:
        for group in self.ranked():
            yield {
                "shopId": group.shop,
                "reason": group.reason,
                "status": group.status,
                "fingerprint": group.fingerprint,
                "example": group.example,
                "exampleId": group.example_id,
                "count": group.count,
                "share": round(self.share(group), 4),
                **group.told(),
            }


@dataclass(frozen=True, slots=True)
class Growth:
    """What changed between two looks, in all and by cause; causes that did not change are left out."""

    total: int
    causes: dict[Cause, int]


def growth(before: Summary, after: Summary) -> Growth:
    """How many letters more (or, negative, fewer) there are of each cause."""
    changes = {
        cause: _count(after, cause) - _count(before, cause) for cause in before.groups.keys() | after.groups.keys()
    }
    return Growth(after.count - before.count, {cause: change for cause, change in changes.items() if change})


def _count(summary: Summary, cause: Cause) -> int:
    group = summary.groups.get(cause)
    return 0 if group is None else group.count
