"""Orders that are told of under another shop now, because the name that they came under was none of a shop then."""

from collections.abc import Iterator, Mapping

from consumer.adapters.ledger import Key, Standing

MOVED = "moved"

# The shop of each order that has moved; None where the order's id is another now, too, and nothing leads there.
Moved = Mapping[Key, str | None]


def new_keys(moved: Moved) -> Iterator[Key]:
    """Where these orders are told of."""
    return ((shop, order) for (_, order), shop in moved.items() if shop is not None)


def followed(found: Mapping[Key, Standing], moved: Moved, elsewhere: Mapping[Key, Standing]) -> dict[Key, Standing]:
    """The standings that were found; those of moved orders taken from `elsewhere`, by their new keys."""
    there = {key: None if shop is None else elsewhere.get((shop, key[1])) for key, shop in moved.items()}
    standings = {key: there.get(key, each) for key, each in found.items()}
    return {key: each for key, each in standings.items() if each is not None}
