"""`neuroon-consumer dlq` as an operator types it, on a real broker."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.core import delivery as header
from consumer.core.delivery import Delivery
from consumer.deadletters.browse import Desk
from consumer.devbroker import PrivateBroker
from consumer.pipeline import Pipeline
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support import broker as support
from tests.support import letters as invented
from tests.support.dead_letter_desk import a_desk, bury, ids
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import ROOT, command, environment


@dataclass(frozen=True)
class Operator:
    """Somebody at a terminal, with a desk to see what they did."""

    environ: dict[str, str]
    desk: Desk
    audit: Path

    async def types(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Run `dlq ...`: exit status, stdout, stderr."""
        return await command(self.environ, "dlq", *arguments, stdin=stdin)

    async def gets(self, *arguments: str) -> Any:
        """Run `dlq ... --json`, which must succeed; what it says, one value for each line."""
        status, out, err = await self.types(*arguments, "--json")
        assert status == 0, err
        return [json.loads(line) for line in out.splitlines()]

    @property
    def record(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    @property
    def audited(self) -> tuple[str, str]:
        return "--audit", str(self.audit)


@pytest.fixture
async def operator(broker: PrivateBroker, names: Names, tmp_path: Path) -> AsyncIterator[Operator]:
    async with a_desk(broker.url, names) as desk:
        yield Operator(environment(broker.url, names), desk, tmp_path / "audit.jsonl")


def four_causes(count: int) -> list[Delivery]:
    """Letters of two shops and four causes, in equal parts, whose details name order and number."""
    shop = DEFAULT_SHOP.id
    causes: tuple[tuple[str, str, str, int | None, str, str], ...] = (
        (shop, "10.10", "exhausted", 503, "answered 503", "EUR"),
        (shop, "20", "refused", 422, "order {order} from day {n} is too old", "EUR"),
        ("shop_other", "0.05", "exhausted", None, "no answer within 10 s", "SEK"),
        ("shop_other", "900", "refused", 400, "lines[{n}]: wrong", "JPY"),
    )
    letters = []
    for n in range(count):
        name, value, reason, status, detail, currency = causes[n % 4]
        told = {
            header.SHOP: name,
            header.REASON: reason,
            header.STATUS: status,
            header.DETAIL: detail.format(order=f"ORD-{n}", n=n),
        }
        body = order(f"ORD-{n}", shopId=name, orderValue=value, currency=currency)
        letters.append(invented.letter(f"ORD-{n}", body, **told))
    return letters


async def test_a_night_with_a_thousand_dead_letters(operator: Operator, broker: PrivateBroker, names: Names) -> None:
    """The summary names four causes with counts and sums; a replay of one touches no other; repaired, all arrives."""
    await bury(operator.desk, *four_causes(1000))
    [summary] = await operator.gets("summary")
    assert (summary["total"], summary["value"]) == (1000, {"EUR": "7525.00", "JPY": "225000", "SEK": "12.50"})
    assert [group["count"] for group in summary["groups"]] == [250] * 4
    groups = {(group["shopId"], group["reason"], group["status"]): group for group in summary["groups"]}
    ours = groups[DEFAULT_SHOP.id, "refused", 422]
    assert ours["value"] == {"EUR": "5000.00"}

    [done] = await operator.gets("replay", "--fingerprint", ours["fingerprint"], "--yes", *operator.audited)
    assert (done["matched"], done["done"], done["failed"]) == (250, 250, 0)
    [summary] = await operator.gets("summary")
    assert {(each["shopId"], each["reason"], each["status"]): each["count"] for each in summary["groups"]} == {
        cause: 250 for cause in groups if cause != (DEFAULT_SHOP.id, "refused", 422)
    }

    async with Sandbox() as sandbox:
        environ = environment(broker.url, names, sandbox)
        async with InProcess(environ) as running:
            [done] = await operator.gets("replay", "--shop", DEFAULT_SHOP.id, "--yes", "--follow", *operator.audited)
            assert (done["done"], done["followed"]["dead"]["total"], done["followed"]["waiting"]) == (250, 0, 0)
            delivered = [each for each in running.reports if type(each.outcome).__name__ == "Delivered"]
            assert len({each.subject.order for each in delivered}) == 500


@pytest.mark.parametrize("ahead", [0, -3600])
async def test_orders_that_die_again_are_told_by_cause(
    operator: Operator, broker: PrivateBroker, names: Names, ahead: int
) -> None:
    """A replay whose cause is not repaired ends with status 1 and the groups of the dead, whatever the clocks say."""
    await bury(operator.desk, *four_causes(8))
    async with Sandbox() as sandbox, InProcess(environment(broker.url, names, sandbox)) as running:
        assert isinstance(running.app.pipeline, Pipeline)
        running.app.pipeline.world.clock = lambda: time.time() + ahead
        chosen = ("--all", "--yes", "--follow", *operator.audited, "--json")
        status, out, _ = await operator.types("replay", *chosen)
    followed = json.loads(out)["followed"]
    assert (status, followed["dead"]["total"], followed["waiting"]) == (1, 4, 0)
    assert [(group["reason"], group["count"]) for group in followed["dead"]["groups"]] == [("unknown_shop", 4)]


async def test_a_replay_that_is_killed_three_times_loses_nothing(
    operator: Operator, broker: PrivateBroker, names: Names
) -> None:
    """kill -9 in the middle, three times, then to the end: every order is there, at most one twice for each kill."""
    count = 400
    await bury(operator.desk, *four_causes(count))
    main = operator.desk.queue.queues.main
    for kill in range(1, 4):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", "dlq", "replay", "--all", "--yes", *operator.audited),
            cwd=ROOT,
            env=operator.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        async def some_sent(kill: int = kill) -> bool:
            return (await operator.desk.queue.state(main)).messages >= kill * 60

        await eventually(some_sent, timeout=40)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    await operator.gets("replay", "--all", "--yes", *operator.audited)
    assert await ids(operator.desk) == []
    async with support.desk(broker.url, names) as shop:
        sent = [message.headers[header.ORDER] for message in await shop.take(names.queue)]
    assert set(sent) == {f"ORD-{n}" for n in range(count)}
    assert count <= len(sent) <= count + 3


async def test_an_interrupted_replay_says_what_was_done(operator: Operator) -> None:
    """Ctrl-C ends it with status 1, the numbers on stdout and in the audit; the rest is still there."""
    await bury(operator.desk, *four_causes(40))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "dlq", "replay", "--all", "--yes", "--rate", "5", "--json"),
        *operator.audited,
        cwd=ROOT,
        env=operator.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    main = operator.desk.queue.queues.main

    async def some_sent() -> bool:
        return (await operator.desk.queue.state(main)).messages >= 2

    await eventually(some_sent, timeout=40)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    told = json.loads(out)
    assert process.returncode == 1
    assert (told["matched"], told["failed"], told["stopped"]) == (40, 0, "stopped by the operator")
    assert 2 <= told["done"] < 40
    assert len(await ids(operator.desk)) == 40 - told["done"]
    assert operator.record[-1] | {"event": "ended", "done": told["done"]} == operator.record[-1]


async def test_exported_discarded_and_imported_letters_are_the_same(
    operator: Operator, broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Bodies, headers and properties, byte for byte; a second import brings in nothing twice."""
    letters = four_causes(12)
    await bury(operator.desk, *letters)
    file = tmp_path / "letters.jsonl"
    [exported] = await operator.gets("export", str(file), *operator.audited)
    assert (exported["matched"], exported["done"]) == (12, 12)
    assert file.stat().st_mode & 0o777 == 0o600
    await operator.gets("discard", "--all", "--why", "moved", "--yes", *operator.audited)
    assert await ids(operator.desk) == []
    [imported] = await operator.gets("import", str(file), "--yes", *operator.audited)
    assert (imported["matched"], imported["done"], imported["failed"]) == (12, 12, 0)
    [again] = await operator.gets("import", str(file), "--yes", *operator.audited)
    assert again["done"] == 0
    async with support.desk(broker.url, names) as shop:
        found = await shop.take_dead()
    for each in found:
        each.headers.pop("x-delivery-count", None)  # the broker's own, of the look that the second import took
    assert [(each.body, each.headers, each.properties.correlation_id) for each in found] == [
        (each.body, each.headers, each.properties.correlation_id) for each in letters
    ]


async def test_export_and_import_through_pipes(operator: Operator) -> None:
    """Without a file, letters go to stdout and come from stdin, and nothing else is on stdout."""
    await bury(operator.desk, *four_causes(3))
    _, lines, _ = await operator.types("export", *operator.audited)
    assert len(lines.splitlines()) == 3
    await operator.types("discard", "--all", "--why", "moved", "--yes", *operator.audited)
    status, _, err = await operator.types("import", "-", "--yes", *operator.audited, stdin=lines.encode())
    assert status == 0, err
    assert await ids(operator.desk) == [f"letter-ORD-{n}" for n in range(3)]


async def test_a_broken_file_imports_nothing(operator: Operator, tmp_path: Path) -> None:
    """One bad line among good ones: status 2, its number, and no letter in the queue."""
    await bury(operator.desk, *four_causes(2))
    _, lines, _ = await operator.types("export", *operator.audited)
    await operator.types("discard", "--all", "--why", "moved", "--yes", *operator.audited)
    file = tmp_path / "broken.jsonl"
    file.write_text(lines + "rubbish\n")
    status, _, err = await operator.types("import", str(file), "--yes", *operator.audited)
    assert status == 2
    assert "line 3" in err
    assert await ids(operator.desk) == []


async def test_an_edited_event_goes_in_place_of_its_original(
    operator: Operator, broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """The repaired event is sent, the letter is gone, the original is in the audit; another order is refused."""
    letter = invented.letter("ORD-1", order("ORD-1", orderValue="nonsense"), **{header.REASON: "malformed"})
    await bury(operator.desk, letter)
    file = tmp_path / "event.json"
    file.write_bytes(order("ORD-2"))
    edit = ("replay", "letter-ORD-1", "--event", str(file), "--yes", *operator.audited)
    status, _, err = await operator.types(*edit)
    assert (status, "orderId cannot change" in err) == (2, True)
    assert await ids(operator.desk) == ["letter-ORD-1"]
    file.write_bytes(order("ORD-1", orderValue="12.00"))
    await operator.gets(*edit)
    async with support.desk(broker.url, names) as shop:
        [sent] = await shop.take(names.queue)
    assert sent.body == file.read_bytes()
    assert await ids(operator.desk) == []
    [kept] = [line for line in operator.record if line["event"] == "letter"]
    assert (kept["action"], base64.b64decode(kept["original"])) == ("edit", letter.body)


async def test_list_and_show_tell_about_letters(operator: Operator) -> None:
    """list: one line each in the public shape, filtered; show: everything about one, masked unless revealed."""
    await bury(operator.desk, *four_causes(8), invented.letter("ORD-9", order("ORD-9", email="a@example.com")))
    listed = await operator.gets("list", "--reason", "refused", "--status", "422")
    assert [each["orderId"] for each in listed] == ["ORD-1", "ORD-5"]
    assert (listed[0]["value"], listed[0]["currency"]) == ("20.00", "EUR")
    assert len(await operator.gets("list", "--limit", "3")) == 3
    [found] = await operator.gets("show", "letter-ORD-9")
    assert found["event"]["email"] == "***"
    assert found["now"]["payload"]["orderId"] == "ORD-9"
    assert not operator.audit.exists()
    [revealed] = await operator.gets("show", "letter-ORD-9", "--reveal", *operator.audited)
    assert revealed["event"]["email"] == "a@example.com"
    assert {line["action"] for line in operator.record} == {"reveal"}
    assert (await operator.types("show", "no-such-id"))[0] == 1


async def test_nothing_happens_unasked(operator: Operator) -> None:
    """Without a terminal and --yes: status 2, untouched; --dry-run shows; what is missing is a usage error."""
    await bury(operator.desk, *four_causes(4))
    for what in (("replay",), ("discard", "--why", "test")):
        status, out, err = await operator.types(*what, "--all", *operator.audited)
        assert (status, out) == (2, "")
        assert "--yes" in err
        [shown] = await operator.gets(*what, "--all", "--dry-run")
        assert (shown["matched"], shown["done"]) == (4, 0)
        assert (await operator.types(*what, "--yes"))[0] == 2  # neither ids, nor a filter, nor --all
    assert (await operator.types("discard", "--all", "--yes"))[0] == 2
    assert (await operator.types("replay", "no-such-id", "--yes", *operator.audited))[0] == 1
    assert len(await ids(operator.desk)) == 4
    assert not operator.audit.exists()


async def test_an_operation_is_recorded_with_each_letter(operator: Operator) -> None:
    """Who, when, what filter, how many, why, and each letter's id, under one operation id."""
    await bury(operator.desk, *four_causes(4))
    [done] = await operator.gets("discard", "--reason", "refused", "--why", "test orders", "--yes", *operator.audited)
    started, *letters, ended = operator.record
    assert {line["operation"] for line in operator.record} == {done["operation"]}
    assert (started["filter"], started["matched"], started["why"]) == ({"reason": "refused"}, 2, "test orders")
    assert [line["id"] for line in letters] == ["letter-ORD-1", "letter-ORD-3"]
    assert (ended["done"], ended["failed"]) == (2, 0)
    assert all(line["who"] and line["at"] for line in operator.record)
