"""Shops and how an event's shop id finds them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Shop:
    """One shop at Neuroon. `api_key` shows itself in no repr; `origin` is sent only when set.

    `hold`: the operator wants its orders to wait.
    """

    id: str
    api_key: SecretStr
    api_url: str
    origin: str | None = None
    aliases: tuple[str, ...] = ()
    enabled: bool = True
    hold: bool = False


@dataclass(frozen=True)
class Shops:
    """All configured shops, found by id or alias."""

    shops: tuple[Shop, ...]
    _by_name: dict[str, Shop] = field(init=False, repr=False, compare=False)

    def __init__(self, shops: Iterable[Shop]) -> None:
        """Raises ValueError when two shops answer to one name."""
        object.__setattr__(self, "shops", tuple(shops))
        by_name: dict[str, Shop] = {}
        for shop in self.shops:
            for name in (shop.id, *shop.aliases):
                if by_name.get(name, shop) is not shop:
                    raise ValueError(f"two shops answer to the name {name!r}")
                by_name[name] = shop
        object.__setattr__(self, "_by_name", by_name)

    @property
    def on_hold(self) -> frozenset[str]:
        """The ids of the shops whose orders wait because the operator wants it."""
        return frozenset(shop.id for shop in self.shops if shop.hold)

    def find(self, name: str | None) -> Shop | str:
        """The shop of that id or alias; without a name, the only shop there is. Else a text that says what is wrong."""
        if name is None:
            if len(self.shops) != 1:
                return f"shopId: required, since {len(self.shops)} shops are configured"
            shop = self.shops[0]
        elif (found := self._by_name.get(name)) is None:
            return "shopId: no shop of this id or alias is configured"
        else:
            shop = found
        return shop if shop.enabled else "shopId: this shop is switched off in the shops file"
