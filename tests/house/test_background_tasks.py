"""Whatever runs beside the rest is supervised, or is named here with who notices its end."""

import ast
from collections.abc import Iterator
from pathlib import Path

from consumer.supervision import TaskName

ROOT = Path(__file__).parents[2]
CONSUMER = ROOT / "consumer"

# Commands that come to an end, and what only they and the tests use.
COMMANDS = {"cli", "demo.py", "devbroker", "sandbox"}

STARTS = {"create_task", "ensure_future", "Thread", "ThreadPoolExecutor", "TaskGroup"}

# Where tasks and threads are started, and why the supervisor does not start them.
OTHERS = {
    "supervision.py Supervisor.start": "this is the supervisor",
    # What consumes: it opens session after session, and its end ends the process.
    "app.py App._consume": "awaited: consumption, the proof of retry queues, and the signal to stop",
    "adapters/rabbit.py Rabbit._until_lost": "awaited: changes of the session",
    "adapters/rabbit.py Rabbit._receive": "one delivery; its end is looked at in Rabbit._forget",
    "adapters/session.py Acks.ack": "one batch of acknowledgements; the next one starts anew",
    "adapters/session.py Session._start": "the watch; its end ends the session, see Session._unwatched",
    "adapters/session.py Session.look_for_alarm": "awaited",
    "adapters/interruption.py unless": "awaited",
    # Short, and awaited by the orders that need it.
    "admission/__init__.py Admission._suspect": "some seconds; its exception is that of the orders that wait for it",
    # Threads.
    "logsink.py LogSink.__init__": "restarts itself, as the supervisor says",
    "adapters/jobthread.py JobThread.call": "ends with its connection: whatever a call raises goes to who awaits it",
    "adapters/ledger/postgres.py PostgresStore.migrate": "awaited, and told to stop with the store",
    "adapters/collector.py Collector.close": "awaited, within the grace",
}


def _starts(tree: ast.AST, within: str = "") -> Iterator[str]:
    """The functions that start something, each as its qualified name."""
    for node in ast.iter_child_nodes(tree):
        name = within
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{within}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in STARTS:
                yield within
        yield from _starts(node, name)


def test_no_task_is_started_that_nobody_watches() -> None:
    """A new one goes through the supervisor, or is added here with the reason why it need not."""
    found = {
        f"{path.relative_to(CONSUMER)} {function}"
        for path in CONSUMER.rglob("*.py")
        if path.relative_to(CONSUMER).parts[0] not in COMMANDS
        for function in _starts(ast.parse(path.read_text()))
    }
    assert found == OTHERS.keys()


def test_every_supervised_task_is_documented() -> None:
    """The page on outages has a row for each, with what it does and what it means that it fails."""
    _, _, section = (ROOT / "docs/outages.md").read_text().partition("## Background tasks")
    rows = [line.split("`")[1] for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert rows == [task.value for task in TaskName]
