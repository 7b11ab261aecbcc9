"""The shops file: many shops in TOML, and the reading of it again when it changes."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from consumer.core.shop import Shop, Shops
from consumer.settings import values

MAX_SECRET_BYTES = 65_536


class ShopsFileError(Exception):
    """The shops file, or a key file that it names, cannot be used; the message says where and what is expected."""


class ShopEntry(BaseModel):
    """One `[[shops]]` table. Exactly one of `api_key` and `api_key_file` is given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, AfterValidator(values.name)]
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    origin: Annotated[str, AfterValidator(values.header_value)] | None = None
    api_url: Annotated[str, AfterValidator(values.base_url)] | None = None
    aliases: tuple[str, ...] = ()
    enabled: bool = True

    @model_validator(mode="after")
    def one_key(self) -> "ShopEntry":
        """Refuse a shop with no key or with two."""
        if (self.api_key is None) == (self.api_key_file is None):
            raise ValueError("expected either api_key or api_key_file")
        return self


class ShopsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    shops: tuple[ShopEntry, ...]


def read_secret_file(path: Path) -> str:
    """A file's text without the line end that editors and `echo` leave; OSError or ValueError when it cannot be."""
    with path.open("rb") as file:
        raw = file.read(MAX_SECRET_BYTES + 1)
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"expected at most {MAX_SECRET_BYTES} bytes")
    return raw.decode().rstrip("\r\n")


def read_shops_file(path: Path, api_url: str) -> tuple[tuple[Shop, ...], tuple[Path, ...]]:
    """The shops in `path`, and all files that were read for it. `api_url` is for shops that name none.

    Raises ShopsFileError.
    """
    try:
        entries = ShopsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).shops
    except OSError as error:
        raise ShopsFileError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ShopsFileError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise ShopsFileError("; ".join(f"{path}: {problem}" for problem in describe(error))) from error
    files = [path]
    shops = []
    for entry in entries:
        key = entry.api_key
        if entry.api_key_file is not None:
            files.append(path.parent / entry.api_key_file)
            key = _key_from(files[-1], entry.id)
        shops.append(_shop(entry, _usable(key, entry.id, path), api_url))
    return tuple(shops), tuple(files)


def describe(error: ValidationError) -> Iterable[str]:
    """One line for each of pydantic's findings: where, and what is expected; never the value."""
    for each in error.errors(include_input=False, include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"]).lstrip(".")
        yield f"{where}: {each['msg'].removeprefix('Value error, ')}"


class ShopsSource:
    """The shops as they are now: from variables and file, read again when a file changes."""

    def __init__(
        self, single: Shop | None, single_key_file: Path | None, shops_file: Path | None, api_url: str
    ) -> None:
        """Raises ShopsFileError when the shops cannot be read the first time."""
        self._single, self._single_key_file = single, single_key_file
        self._shops_file, self._api_url = shops_file, api_url
        self._files: tuple[Path, ...] = ()
        self._signature: object = None
        self.shops = Shops(())
        self.reload()

    def reload(self) -> bool:
        """Read the files if one has changed since the last look; True when there are new shops.

        Raises ShopsFileError when they cannot be used; the shops stay, and the same state is not read again.
        """
        if self._signature is not None and self._signature == self._look():
            return False
        try:
            shops, files = self._read()
        except ShopsFileError:
            self._signature = self._look()
            raise
        changed = [shop_state(shop) for shop in shops.shops] != [shop_state(shop) for shop in self.shops.shops]
        self._files, self.shops = files, shops
        self._signature = self._look()
        return changed

    def _read(self) -> tuple[Shops, tuple[Path, ...]]:
        shops: list[Shop] = []
        files: list[Path] = []
        if self._single is not None:
            single = self._single
            if self._single_key_file is not None:
                files.append(self._single_key_file)
                key = _usable(_key_from(self._single_key_file, single.id), single.id, self._single_key_file)
                single = Shop(single.id, key, single.api_url, single.origin)
            shops.append(single)
        if self._shops_file is not None:
            more, read = read_shops_file(self._shops_file, self._api_url)
            shops.extend(more)
            files.extend(read)
        try:
            return Shops(shops), tuple(files)
        except ValueError as error:
            raise ShopsFileError(f"{self._shops_file}: {error}") from error

    def _look(self) -> object:
        watched = self._files or tuple(filter(None, (self._single_key_file, self._shops_file)))
        return tuple(_stat(path) for path in watched)


def shop_state(shop: Shop) -> tuple[Any, ...]:
    """All of a shop, the key included, to compare with."""
    return shop.id, shop.api_key.get_secret_value(), shop.api_url, shop.origin, shop.aliases, shop.enabled


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _key_from(path: Path, shop_id: str) -> SecretStr:
    try:
        return SecretStr(read_secret_file(path))
    except OSError as error:
        raise ShopsFileError(f"shop {shop_id}: api key file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ShopsFileError(f"shop {shop_id}: api key file {path}: expected a short text file") from error


def _usable(key: SecretStr | None, shop_id: str, path: Path) -> SecretStr:
    try:
        return SecretStr(values.header_value(key.get_secret_value() if key else ""))
    except ValueError as error:
        raise ShopsFileError(f"{path}: shop {shop_id}: api key: {error}") from error


def _shop(entry: ShopEntry, key: SecretStr, api_url: str) -> Shop:
    return Shop(entry.id, key, entry.api_url or api_url, entry.origin, entry.aliases, entry.enabled)
