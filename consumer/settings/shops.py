"""The shops file: many shops in TOML, with a key each, written there or in a file of its own."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from consumer.core.shop import Shop
from consumer.settings import values

MAX_SECRET_BYTES = 65_536


class ShopsFileError(Exception):
    """The shops file, or a key file that it names, cannot be used; the message says where and what is expected."""


class ShopEntry(BaseModel):
    """One `[[shops]]` table. Exactly one of `api_key` and `api_key_file` is given.

    `enabled`: false ends the shop's orders in the dead letters, "hold" keeps them waiting.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, AfterValidator(values.name)]
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    origin: Annotated[str, AfterValidator(values.header_value)] | None = None
    api_url: Annotated[str, AfterValidator(values.base_url)] | None = None
    aliases: tuple[str, ...] = ()
    enabled: bool | Literal["hold"] = True

    @model_validator(mode="after")
    def one_key(self) -> "ShopEntry":
        """Refuse a shop with no key or with two."""
        if (self.api_key is None) == (self.api_key_file is None):
            raise ValueError("expected either api_key or api_key_file")
        return self


class ShopsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    shops: tuple[ShopEntry, ...] = ()


# Device, inode, size, and the nanoseconds of the last change of content and of the inode. The inode tells a file apart
# from the one that replaced it, its time from one that got the old time back (rsync, cp -p).
FileState = tuple[int, int, int, int, int]


def file_state(path: Path) -> FileState | None:
    """In which state the file is that `path` leads to now; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_secret_file(path: Path) -> str:
    """A file's text without the line end that editors and `echo` leave; OSError or ValueError when it cannot be."""
    with path.open("rb") as file:
        raw = file.read(MAX_SECRET_BYTES + 1)
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"expected at most {MAX_SECRET_BYTES} bytes")
    return raw.decode().rstrip("\r\n")


def read_shops_file(path: Path, api_url: str, files: set[Path]) -> tuple[Shop, ...]:
    """The shops in `path`, of which there is at least one. `api_url` is for shops that name none.

    `files` gains every file that is read or looked for. Raises ShopsFileError.
    """
    files.add(path)
    try:
        entries = ShopsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).shops
    except OSError as error:
        raise ShopsFileError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ShopsFileError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise ShopsFileError("; ".join(f"{path}: {problem}" for problem in describe(error))) from error
    if not entries:  # a file that is being written is empty first, and its shops' orders must not end
        raise ShopsFileError(f"{path}: expected at least one [[shops]] table")
    keys = [_key_of(entry, path, files) for entry in entries]
    return tuple(_shop(entry, key, api_url) for entry, key in zip(entries, keys, strict=True))


def describe(error: ValidationError) -> Iterable[str]:
    """One line for each of pydantic's findings: where, and what is expected; never the value."""
    for each in error.errors(include_input=False, include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"]).lstrip(".")
        yield f"{where}: {each['msg'].removeprefix('Value error, ')}"


def read_key_file(path: Path, shop_id: str, files: set[Path]) -> SecretStr:
    """The API key in `path`, which is added to `files`; ShopsFileError when there is none that can be sent."""
    files.add(path)
    try:
        text = read_secret_file(path)
    except OSError as error:
        raise ShopsFileError(f"shop {shop_id}: api key file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ShopsFileError(f"shop {shop_id}: api key file {path}: expected a short text file") from error
    return _usable(text, shop_id, path)


def _key_of(entry: ShopEntry, path: Path, files: set[Path]) -> SecretStr:
    if entry.api_key_file is not None:
        return read_key_file(path.parent / entry.api_key_file, entry.id, files)
    return _usable(entry.api_key.get_secret_value() if entry.api_key else "", entry.id, path)


def _usable(key: str, shop_id: str, path: Path) -> SecretStr:
    try:
        return SecretStr(values.header_value(key))
    except ValueError as error:
        raise ShopsFileError(f"{path}: shop {shop_id}: api key: {error}") from error


def _shop(entry: ShopEntry, key: SecretStr, api_url: str) -> Shop:
    hold = entry.enabled == "hold"
    url = entry.api_url or api_url
    return Shop(entry.id, key, url, entry.origin, entry.aliases, enabled=bool(entry.enabled), hold=hold)
