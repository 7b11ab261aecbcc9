"""Values that are made for every order."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass that nobody changes, by the type checker's word instead of a check at run time.

    A frozen one sets each field through `object.__setattr__`: eight fields take 1.2 us instead of 0.25, and an order is
    some sixty fields of such values on its way. Everywhere else `dataclass(frozen=True)` is the word.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
