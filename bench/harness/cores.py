"""Who runs on which core."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

COMPETITOR, SURROUNDINGS = 0, 1


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started inside has this core and no other, as have its children; None leaves it to the system."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
