"""Letters as lines of JSON, and back."""

import json
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.delivery import Delivery, Properties
from consumer.deadletters.envelope import EnvelopeError, read_envelope, write_envelope
from consumer.deadletters.letter import read_letter
from tests.support.letters import dead_headers, letter, read

moments = st.integers(0, 4 * 10**9).map(lambda each: datetime.fromtimestamp(each, UTC))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(-2_000_000, 2_000_000, allow_nan=False, allow_infinity=False, places=3),
    moments,
)
keys = st.text(string.ascii_letters + "-", min_size=1, max_size=20)
tables = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@given(st.binary(), st.dictionaries(keys.map(lambda key: f"t-{key}"), tables, max_size=5), moments)
def test_any_letter_comes_back_as_it_went(body: bytes, foreign: dict[str, object], moment: datetime) -> None:
    """Body, every header of every AMQP type, and the properties are the same after a line of JSON."""
    properties = Properties("application/json", "gzip", "corr", int(moment.timestamp()), "type", "app", "reply", 3)
    before = Delivery(body, headers=dead_headers("ORD-1") | foreign, properties=properties)
    line = write_envelope(before, read_letter(before, read))
    assert "\n" not in line
    after = read_envelope(line)
    assert (after.body, after.headers, after.properties) == (before.body, before.headers, before.properties)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not JSON",
        b"[]",
        b"\xff",
        b'{"format": 2}',
        b'{"format": 1, "headers": {}, "properties": {}}',
        b'{"format": 1, "headers": {}, "properties": {"nonsense": 1}, "body": ""}',
        b'{"format": 1, "headers": {}, "properties": {}, "body": "not base64!"}',
        b'{"format": 1, "headers": {"a": {"no": "type"}}, "properties": {}, "body": ""}',
        b'{"format": 1, "headers": {"a": {"decimal": "x"}}, "properties": {}, "body": ""}',
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    """A line that is no exported letter is an error of ours, and never anything else."""
    with pytest.raises(EnvelopeError):
        read_envelope(line)


def test_a_line_written_by_hand_routes_nothing_elsewhere() -> None:
    """CC makes a broker deliver to further queues, and x-death can make it drop: they are left out."""
    line = json.loads(write_envelope(letter("ORD-1"), read_letter(letter("ORD-1"), read)))
    line["headers"] |= {"CC": ["elsewhere"], "x-death": [], "tenant": "x"}
    assert read_envelope(json.dumps(line)).headers == dead_headers("ORD-1") | {"tenant": "x"}
