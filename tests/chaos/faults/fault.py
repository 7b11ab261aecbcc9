"""A blow, and what it may cost."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from tests.chaos.repeats import Struck
from tests.chaos.world import CONCURRENCY, CONSUMERS, World

# What may be under way, or recorded and not yet acknowledged, at one consumer and at all of them.
ONE, ALL = CONCURRENCY, CONCURRENCY * CONSUMERS


@dataclass
class Fault(ABC):
    """One blow at one `victim`, which is left alone by others meanwhile.

    `excuses`, `felt`, `blinds`, `copies` and `silences` are as in `Struck`; the first is known when it is mended.
    """

    world: World
    which: int = 0
    excuses: int = 0
    victim: ClassVar[str] = ""
    longest: ClassVar[float] = 5.0  # seconds
    felt: ClassVar[float] = 0.0
    blinds: ClassVar[bool] = False
    copies: ClassVar[bool] = False
    silences: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As in the report."""
        return type(self).__name__

    @property
    def target(self) -> str:
        """What is struck."""
        return f"{self.victim}{self.which if self.victim in {'consumer', 'link', 'shop'} else ''}"

    def struck(self, began: float, ended: float) -> Struck:
        """What it was, now that it is over."""
        return Struck(
            self.name, self.target, began, ended, self.excuses, self.felt, self.blinds, self.copies, self.silences
        )

    @abstractmethod
    async def strike(self) -> None:
        """Break it."""

    @abstractmethod
    async def mend(self) -> None:
        """Put it right again."""
