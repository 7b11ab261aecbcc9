"""The conversion payload, and how an order becomes one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is posted for one order: `payload` is the JSON body, the same bytes at every try of the same event."""

    order_id: str
    payload: bytes
