"""Numbers that passed through Python's own JSON decoder, or somebody's function, made exact again."""

from decimal import Decimal


def exact(value: object) -> object:
    """`value` with decimals for floats. The shortest text of a float is what was written, up to 15 digits of it."""
    match value:
        case float():
            return Decimal(repr(value))
        case dict():
            return {key: exact(member) for key, member in value.items()}
        case list() | tuple():
            return [exact(member) for member in value]
        case _:
            return value
