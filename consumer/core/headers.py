"""The headers of a message: foreign ones stay the bytes that came, ours are added and read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from consumer.core.amqp_values import decode_text, decode_value, encode_name, encode_value, split_table

OURS = "x-neuroon-"
_OURS = OURS.encode()


class Headers(Mapping[str, object]):
    """A header table, read only when somebody asks for something in it.

    As a mapping it gives decoded values (see `decode_value`) by name; of two headers with one name, the first.
    `believe_ours` off: headers that look like ours are no part of it, since another program wrote them.
    """

    def __init__(self, table: bytes = b"", *, believe_ours: bool = True) -> None:
        self._table, self._believe_ours = table, believe_ours

    @classmethod
    def of(cls, headers: Mapping[str, object]) -> "Headers":
        """The same headers; made from decoded values, if they are not `Headers`. EncodingError if AMQP has no such."""
        return headers if isinstance(headers, cls) else cls.from_fields(_encoded(*each) for each in headers.items())

    @classmethod
    def from_fields(cls, fields: Iterable[tuple[bytes, bytes]], rest: bytes = b"") -> "Headers":
        """Headers of these names and values (a value begins with its type); `rest` follows them as it is."""
        made = cls()
        made.__dict__["_split"] = tuple(fields), rest
        return made

    @cached_property
    def _split(self) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
        """Names and undecoded values, and what follows the last that can be told apart."""
        fields, rest = split_table(self._table)
        if not self._believe_ours:
            fields = tuple(each for each in fields if not each[0].startswith(_OURS))
        return fields, rest

    @cached_property
    def _by_name(self) -> dict[str, bytes]:
        return {decode_text(name): value for name, value in reversed(self.fields)}

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names and values as bytes; a value begins with its type."""
        return self._split[0]

    @property
    def is_broken(self) -> bool:
        """Whether there is something after the last header that can be told apart: it is passed on as it is."""
        return bool(self._split[1])

    def __getitem__(self, name: str) -> object:
        return decode_value(self._by_name[name])

    def __iter__(self) -> Iterator[str]:
        return iter(decode_text(name) for name, _ in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"  # values may be a customer's

    def __or__(self, other: Mapping[str, object]) -> "Headers":
        """These, with those of `other` in place of the ones of the same names."""
        added = Headers.of(other).fields
        names = {name for name, _ in added}
        return self.from_fields((*(each for each in self.fields if each[0] not in names), *added), self._split[1])

    def select(self, keep: Callable[[bytes], bool]) -> "Headers":
        """Those whose name's bytes `keep` wants, and what cannot be told apart."""
        return self.from_fields((each for each in self.fields if keep(each[0])), self._split[1])

    def encode(self) -> bytes:
        """The table without its size. Ours come first, where they can be read whatever is wrong with the others."""
        fields, rest = self._split
        if rest:
            fields = tuple(sorted(fields, key=lambda each: not each[0].startswith(_OURS)))
        return b"".join(bytes((len(name),)) + name + value for name, value in fields) + rest


def _encoded(name: str, value: object) -> tuple[bytes, bytes]:
    return encode_name(name)[1:], encode_value(value)
