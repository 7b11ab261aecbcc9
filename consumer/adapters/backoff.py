"""How long to wait before what has just failed is tried again."""

import random

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0


def pause(failures: int) -> float:
    """Seconds: doubling up to `LONGEST_PAUSE`, and up to a quarter more, so that pods get out of step."""
    return float(min(FIRST_PAUSE * 2.0 ** min(failures, 20), LONGEST_PAUSE) * (1 + random.random() / 4))  # noqa: S311
