"""What the benchmark says of its samples: medians, ratios and tables, without running anything."""

import xml.etree.ElementTree as ET

import pytest

from bench.harness.chart import chart
from bench.harness.competitors import OURS, PEER_FETCH, TUTORIAL, Competitor
from bench.harness.contest import Result, Row, Sample, medians
from bench.harness.course import Course, Point
from bench.harness.events import canonical, numbered, shopify
from bench.harness.figures import formatted, percentile, ratio
from bench.harness.record import as_json, as_markdown
from bench.harness.sink import Book
from bench.harness.table import base, lines, notes
from bench.harness.usage import Usage
from bench.harness.worst import PLATFORMS, compressed, plain, worst
from bench.model import Cost, Load, Need, need
from bench.workloads.drain import DRAIN, sample
from consumer.core.body import BODY_LIMIT, decode
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid
from consumer.core.reading import Several
from consumer.core.shop import Shops
from consumer.intake import Intake
from consumer.mappings import builtin_names, load_reader
from consumer.workload import LIGHT

FACTS = {"cpu": "a processor", "packages": {"httpx": "0.28.1"}}


def row(competitor: Competitor, **figures: float) -> Row:
    return Row(competitor, figures, [Sample(figures)])


def result(*rows: Row) -> Result:
    return Result(DRAIN, list(rows))


def point(orders: int, at: float, cpu: float) -> Point:
    return Point(orders, at, Usage(cpu, 50.0, 60.0), cpu / 2, cpu / 4)


def test_a_figure_is_the_median_of_the_runs_that_have_it() -> None:
    """One run that the machine disturbed, or that failed, does not show."""
    assert medians([{"rate": 1.0}, {"rate": 900.0, "cpu": 2.0}, {"rate": 3.0}, {}]) == {"rate": 3.0, "cpu": 2.0}


def test_ratios_are_to_the_first_peer_that_ran() -> None:
    """This program's own ratio is what it is of that peer's; a peer that could not run is no measure."""
    rows = [row(OURS, rate=300.0), Row(TUTORIAL, absent="not here"), row(PEER_FETCH, rate=100.0)]
    assert base(rows) is rows[2]
    assert [line[:3] for line in lines(result(*rows))] == [
        [OURS.name, "300", "3.00x"],
        [TUTORIAL.name, "-", "-"],
        [PEER_FETCH.name, "100", "1.00x"],
    ]
    assert notes(result(*rows)) == [f"{TUTORIAL.name}: not here"]


def test_one_alone_has_no_ratio() -> None:
    """Nothing to hold it against."""
    assert lines(result(row(OURS, rate=300.0)))[0][2] == "-"
    assert ratio(3.0, 0.0) is None
    assert formatted(float("inf"), 1) == "-"


def test_the_warm_up_does_not_count() -> None:
    """Rate and CPU are those between the end of the warm-up and the last order."""
    points = (point(1, 10.0, 1.0), point(100, 12.0, 2.0), point(1100, 14.0, 2.5))
    figures = sample(Course(9.0, points, finished=True, duplicates=0, keyless=0, unsettled=0, failed=0)).figures
    assert figures == {"peak": 60.0, "rate": 500.0, "cpu": 500.0, "broker": 250.0, "sink": 125.0}


def test_what_went_wrong_is_said_beside_the_figures() -> None:
    """Orders not in time, not acknowledged, dead, posted twice, or posted without the key."""
    course = Course(0.0, (point(90, 1.0, 1.0),), finished=False, duplicates=1, keyless=2, unsettled=3, failed=4)
    words = "only 90 orders in time, 3 not acknowledged, 4 dead or to be retried, 1 posted twice, 2 without the key"
    assert course.note == words


def test_percentiles_are_of_the_values_themselves() -> None:
    """The 99th of 1 to 101 is 100; of one value it is that value."""
    assert percentile([float(each) for each in range(1, 102)], 99) == 100.0
    assert percentile([7.0], 99) == 7.0


def test_the_sink_knows_each_order_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    """Spaces or none, a second post is a duplicate, and a mark is told when it is reached."""
    book = Book(3, [2], 0.0)
    book.arrived(b'{"orderId":"ORD-00000001","orderValue":1}')
    assert capsys.readouterr().out == ""
    book.arrived(b'{"orderId": "ORD-00000001"}')
    book.arrived(b'{"currency": "EUR", "orderId": "45078900000002"}')
    assert '"mark": 2' in capsys.readouterr().out
    assert (book.requests, book.distinct, book.duplicates) == (3, 2, 1)
    assert [bool(at) for at in book.times] == [False, True, True]


@pytest.mark.parametrize(("template", "mapping"), [(canonical(), "canonical"), (shopify(), "shopify")])
def test_every_event_is_an_order_of_its_own_number(template: bytes, mapping: str) -> None:
    """With lines that came from a search: there is something to post."""
    body = numbered(template, 1234)
    order = load_reader(mapping).read(decode(body), Delivery(body))
    assert isinstance(order, OrderPaid)
    assert order.order_id.endswith("00001234")
    assert len(body) == len(template)
    assert order.clicks


@pytest.mark.parametrize("mapping", builtin_names())
def test_the_worst_messages_fit_and_are_bad_in_the_way_that_is_meant(mapping: str) -> None:
    """Every built-in mapping has its own; those of the most lines are orders, of which each line is posted."""
    assert set(PLATFORMS) == set(builtin_names())
    intake = Intake(load_reader(mapping), lambda: Shops(()))
    small, large = dict(worst(mapping, LIGHT)), dict(worst(mapping, BODY_LIMIT))
    assert max(map(len, small.values())) <= LIGHT
    assert max(map(len, large.values())) <= BODY_LIMIT
    for name in ("most_lines", "own_clicks", "long_search"):
        for delivery in (plain(small[name]), compressed(small[name])):
            order = intake(delivery)
            assert isinstance(order, OrderPaid), (name, order)
            assert order.clicks or all(line.search_log_id for line in order.lines)
    assert isinstance(intake(plain(large["array"])), Several)
    assert isinstance(intake(plain(large["too_many_lines"])), Malformed)
    assert isinstance(intake(plain(large["too_many_clicks"])), Malformed)


def test_results_are_kept_whole() -> None:
    """Single runs in JSON, facts and tables in Markdown, a bar for each that ran in a picture that parses."""
    found = result(row(OURS, rate=300.0), row(TUTORIAL, rate=100.0))
    assert as_json(FACTS, [found])["workloads"]["drain"]["competitors"][OURS.name]["runs"] == [{"rate": 300.0}]
    markdown = as_markdown(FACTS, [found])
    assert "| neuroon-consumer | 300 | 3.00x |" in markdown
    assert "- cpu: a processor" in markdown
    picture = ET.fromstring(chart([found]))  # noqa: S314 - our own
    bars = [float(each.get("width", "0")) for each in picture.iter() if each.tag.endswith("rect")]
    assert bars == [bars[0], pytest.approx(bars[0] / 3, abs=1)]


@pytest.mark.parametrize(
    ("load", "needed"),
    [
        (Load(peak=10, latency=0.1), Need(pods=1, in_flight=2, queues=1)),
        (Load(peak=1_000, latency=0.1), Need(pods=3, in_flight=48, queues=1)),  # by what is in flight
        (Load(peak=10_000, latency=0.001), Need(pods=3, in_flight=5, queues=1)),  # by CPU
        (Load(peak=100_000, latency=0.0), Need(pods=25, in_flight=1, queues=3)),
    ],
)
def test_the_model_takes_the_scarcest(load: Load, needed: Need) -> None:
    """CPU, what may be in flight, and the queue's one core: as many pods as the scarcest of them asks for."""
    assert need(load, Cost(consumer=170.0, broker=20.0), concurrency=64) == needed
