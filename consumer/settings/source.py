"""The shops as they are now: read from variables and files, and read again when a file changes."""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from consumer.core.shop import Shop, Shops
from consumer.settings.shops import (
    FileState,
    ShopsFileError,
    file_state,
    read_key_file,
    read_shops_file,
)

# How often the files are inspected, by one stat each.
POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class ShopsSource:
    """The shops that are configured. `unusable_since`: when the files stopped to be usable, in Unix seconds.

    Files that change are read once all of them were found in the same state twice, a poll apart, so that neither a
    half-written file nor one half of a pair that belongs together is taken for the whole. When they cannot be used the
    shops stay, and they are read again as soon as any file changes that was read or looked for.
    """

    def __init__(
        self,
        single: Shop | None,
        single_key_file: Path | None,
        shops_file: Path | None,
        api_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises ShopsFileError when the shops cannot be read the first time."""
        self._single, self._single_key_file = single, single_key_file
        self._shops_file, self._api_url, self._clock = shops_file, api_url, clock
        self.unusable_since: float | None = None
        files: set[Path] = set()
        self.shops = self._read(files)
        self._inspected = _states(files)
        # The states in which the files were last judged; at first none, since they may have changed while being read.
        self._judged: dict[Path, FileState | None] | None = None

    def reload(self) -> bool:
        """Inspect the files, and read them if they have changed and come to rest; True when there are new shops.

        Raises ShopsFileError when they cannot be used, once for each state that they come to.
        """
        before = self._inspected
        self._inspected = _states(before)
        if self._inspected == self._judged or self._inspected != before:
            return False
        files: set[Path] = set()
        try:
            shops = self._read(files)
        except ShopsFileError:
            if self._settled(files):
                self.unusable_since = self.unusable_since or self._clock()
                raise
            return False
        return self._settled(files) and self._take(shops)

    async def watch(self, inspected: Callable[[], None] = lambda: None) -> None:
        """Keep the shops up to date for as long as this runs; `inspected` is called after each inspection."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if self.reload():
                    log.info("shops file reloaded", shops=len(self.shops.shops))
            except ShopsFileError as error:
                log.error("shops file reload failed, keeping previous configuration", why=str(error))  # noqa: TRY400 - it says all
            inspected()

    def _settled(self, files: set[Path]) -> bool:
        """Whether just the files were read that had been inspected, unchanged; if not, these are inspected next."""
        before, self._inspected = self._inspected, _states(files)
        if self._inspected != before:
            return False
        self._judged = before
        return True

    def _take(self, shops: Shops) -> bool:
        changed = [_facts(shop) for shop in shops.shops] != [_facts(shop) for shop in self.shops.shops]
        self.shops, self.unusable_since = shops, None
        return changed

    def _read(self, files: set[Path]) -> Shops:
        shops: list[Shop] = []
        if self._single is not None:
            single = self._single
            if self._single_key_file is not None:
                key = read_key_file(self._single_key_file, single.id, files)
                single = Shop(single.id, key, single.api_url, single.origin)
            shops.append(single)
        if self._shops_file is not None:
            shops.extend(read_shops_file(self._shops_file, self._api_url, files))
        try:
            return Shops(shops)
        except ValueError as error:
            raise ShopsFileError(f"{self._shops_file}: {error}") from error


def _states(files: Iterable[Path]) -> dict[Path, FileState | None]:
    return {path: file_state(path) for path in files}


def _facts(shop: Shop) -> tuple[Any, ...]:
    """All of a shop, the key included, to compare with."""
    key = shop.api_key.get_secret_value()
    return shop.id, key, shop.api_url, shop.origin, shop.aliases, shop.enabled, shop.hold
