"""The shops that the sandbox knows, and which calls it lets in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SandboxShop:
    """A shop as registered at Neuroon. `api_key` shows itself in no repr; without an `origin` any is let in."""

    id: str
    api_key: str = field(repr=False)
    origin: str | None = None


# For a sandbox that is told of no shop. The key has the form of a real one: sk_ and 32 hex digits.
DEFAULT_SHOP = SandboxShop("shop_sandbox", "sk_" + "5a" * 16)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no: an HTTP status and why, for the body's `message`."""

    status: int
    message: str


class Registry:
    """All shops, by id."""

    def __init__(self, shops: Iterable[SandboxShop]) -> None:
        self._shops = {each.id: each for each in shops}

    def put(self, shop: SandboxShop) -> None:
        """Add a shop, or give one that exists another key and origin; the old key is dead at once."""
        self._shops[shop.id] = shop

    def all(self) -> list[SandboxShop]:
        """Every shop, in the order in which they came."""
        return list(self._shops.values())

    def admit(self, shop_id: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a call for this shop is not let in, or None.

        401 without a key, then 404 for a shop that does not exist, 403 for the key of another shop, 401 for a key of
        none, 403 for a foreign origin. In which order the real one looks is not documented.
        """
        key = headers.get("X-Shop-API-Key")
        if not key:
            return Refusal(401, "API key is missing")
        shop = self._shops.get(shop_id)
        if shop is None:
            return Refusal(404, "Shop not found")
        if key != shop.api_key:
            if self.owner(headers) is not None:
                return Refusal(403, "API key does not belong to this shop")
            return Refusal(401, "API key is invalid")
        return _foreign(shop, headers)

    def owner(self, headers: Mapping[str, str]) -> SandboxShop | None:
        """The shop whose key a call carries."""
        key = headers.get("X-Shop-API-Key")
        return next((each for each in self._shops.values() if key == each.api_key), None)

    def admit_owner(self, headers: Mapping[str, str]) -> SandboxShop | Refusal:
        """The shop whose key a call carries, or why it is not let in."""
        shop = self.owner(headers)
        if shop is None:
            return Refusal(401, "API key is invalid" if headers.get("X-Shop-API-Key") else "API key is missing")
        return _foreign(shop, headers) or shop


def _foreign(shop: SandboxShop, headers: Mapping[str, str]) -> Refusal | None:
    """A call without an Origin comes from a server and is let in; one with another shop's page is not."""
    origin = headers.get("Origin")
    if origin is None or shop.origin is None or _bare(origin) == _bare(shop.origin):
        return None
    return Refusal(403, "Origin does not match the shop's URL")


def _bare(url: str) -> str:
    """Without scheme, `www.` and trailing slash: what Neuroon compares."""
    return re.sub("^[a-z]+://", "", url.strip().lower()).removeprefix("www.").rstrip("/")
