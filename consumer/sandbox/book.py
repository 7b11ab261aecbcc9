"""What the sandbox has received: every order once, and the requests that brought them."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

# As many requests are remembered one by one; at about 200 bytes each they never matter.
REQUESTS_KEPT = 20_000


@dataclass(slots=True)
class Received:
    """One recorded order. `first` and `last` are POSIX seconds of its first and last post.

    `body` is the first post's, None when bodies are not kept; `conflict` says that a repeat had other bytes.
    `unexpected` names fields that the contract does not know.
    """

    shop_id: str
    order_id: str
    sha256: bytes
    body: bytes | None
    first: float
    last: float
    unexpected: tuple[str, ...] = ()
    posts: int = 1
    conflict: bool = False


class Seen(NamedTuple):
    """One request to the conversion endpoint: when it came (POSIX seconds) and how it ended, a status or a cut."""

    at: float
    shop_id: str
    order_id: str
    end: str


class Book:
    """Orders by (shop id, order id), requests, and counts of both."""

    def __init__(self, *, keep_bodies: bool = True) -> None:
        self._keep_bodies = keep_bodies
        self._under_way: Counter[tuple[str, str]] = Counter()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.orders: dict[tuple[str, str], Received] = {}
        self.requests: deque[Seen] = deque(maxlen=REQUESTS_KEPT)
        self.ends: Counter[str] = Counter()
        self.overlaps = 0

    @contextmanager
    def under_way(self, shop_id: str, order_id: str) -> Iterator[None]:
        """Around a request; `overlaps` counts those that found one of the same order still unanswered."""
        name = (shop_id, order_id)
        if order_id:
            self.overlaps += name in self._under_way
        self._under_way[name] += 1
        try:
            yield
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]

    def record(self, shop_id: str, order_id: str, body: bytes, unexpected: tuple[str, ...], at: float) -> bool:
        """Record an order; whether it was new. A repeat changes nothing but its own count."""
        digest = sha256(body).digest()
        known = self.orders.get((shop_id, order_id))
        if known is None:
            kept = body if self._keep_bodies else None
            self.orders[shop_id, order_id] = Received(shop_id, order_id, digest, kept, at, at, unexpected)
            return True
        known.posts += 1
        known.last = at
        known.conflict |= digest != known.sha256
        return False

    def note(self, seen: Seen) -> None:
        """Count a request that has ended."""
        self.requests.append(seen)
        self.ends[seen.end] += 1

    def stats(self) -> dict[str, object]:
        """Counts, ready for JSON; docs/sandbox.md explains each."""
        orders = self.orders.values()
        return {
            "requests": self.ends.total(),
            "byStatus": dict(sorted(self.ends.items())),
            "orders": len(orders),
            "postedTwice": sum(each.posts > 1 for each in orders),
            "conflicts": sum(each.conflict for each in orders),
            "withUnexpectedFields": sum(bool(each.unexpected) for each in orders),
            "overlaps": self.overlaps,
        }
