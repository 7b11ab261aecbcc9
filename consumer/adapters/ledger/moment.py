"""Times as every reader of the ledger can show them.

Earlier versions kept what a header claimed, such as the end of the year 9999 in a zone behind UTC, and a shop's own
columns may hold "infinity". Beyond these bounds neither Python nor an RFC 3339 text has a date.
"""

from typing import Final, overload

EARLIEST: Final = 0
# 9999-12-31T00:00:00Z, a day before the last second, so that no rounding and no time zone leads beyond it.
LATEST: Final = 253_402_214_400


@overload
def moment(seconds: float) -> float: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> float | None:
    """Unix seconds within the bounds; a NaN is the earliest."""
    if seconds is None:
        return None
    return min(seconds, float(LATEST)) if seconds >= EARLIEST else float(EARLIEST)
