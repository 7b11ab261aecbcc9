"""The number under which an order is locked: the same in every process, for identifiers of any kind."""

import hashlib
from functools import lru_cache

from consumer.adapters.ledger import Key

# "nc" in ASCII, above 48 bits of hash: advisory locks of PostgreSQL are one space for all programs of a database, and
# what others take there are mostly small numbers. Two of 1,000 orders in hand share a hash once in 560 million times;
# one of them then waits for the other, and that is all.
_OURS = 0x6E63 << 48
_HASH_BYTES = 6
# An order is locked, let go of, and looked at again meanwhile; so many may be in hand.
_REMEMBERED = 1024


@lru_cache(_REMEMBERED)
def lock_number(key: Key) -> int:
    """A positive number of 63 bits. No two keys give the same text to hash: the shop's length says where it ends."""
    shop, order = key
    text = f"{len(shop)}:{shop}{order}".encode("utf-8", "surrogatepass")
    return _OURS | int.from_bytes(hashlib.blake2b(text, digest_size=_HASH_BYTES).digest(), "big")
