"""How a private broker comes about and goes: found, installed or in a container; and never left behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.devbroker import BrokerStartError, NoBrokerError, PrivateBroker
from consumer.devbroker import broker as broker_module
from consumer.devbroker.apt import one_at_a_time
from consumer.devbroker.container import ContainerNode
from consumer.devbroker.guard import Guard
from consumer.devbroker.installation import Installation, locate
from consumer.devbroker.node import LocalNode
from consumer.devbroker.ports import answers, free_ports
from tests.support.eventually import eventually

# Launches a node, says where, and dies without a chance to clean up.
_DIES = """
import os, signal
from consumer.devbroker.installation import locate
from consumer.devbroker.node import LocalNode
node = LocalNode(locate())
node.launch()
print(node.folder, node.process_group, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _installation() -> Installation:
    found = locate()
    assert found is not None, "the fixture `broker` installs it"
    return found


def _run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)


def _living(group: str) -> list[str]:
    """Members of a process group; those that have ended but that nobody has collected do not count."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,command="], check=True, capture_output=True, text=True)
    members = [line.split(maxsplit=2) for line in listed.stdout.splitlines() if line.split()[0] == group]
    return [command for _, state, command in members if not state.startswith("Z")]


@pytest.mark.usefixtures("broker")
async def test_nothing_outlives_a_parent_that_was_killed() -> None:
    """kill -9 of the demo or of a test run leaves no node, no port mapper and no files."""
    ran = _run_python(_DIES)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    folder, group = ran.stdout.split()
    await eventually(lambda: not Path(folder).exists())
    await eventually(lambda: not _living(group))


@pytest.mark.usefixtures("broker")
def test_a_node_that_does_not_come_up_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason stands in the error, not in a file that is gone."""
    server = _program(tmp_path / "rabbitmq-server", "echo boot failed: no luck >&2; exit 1")
    broken = replace(_installation(), server=server)
    monkeypatch.setattr(broker_module, "locate", lambda: broken)
    with pytest.raises(BrokerStartError, match="no luck"), PrivateBroker():
        pass


@pytest.mark.usefixtures("broker")
async def test_settings_of_the_machines_own_broker_do_not_leak_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The node's environment is made from nothing; its programs alone come from PATH."""
    monkeypatch.setenv("RABBITMQ_NODENAME", "production@localhost")
    monkeypatch.setenv("RABBITMQ_ADVANCED_CONFIG_FILE", "/etc/rabbitmq/advanced.config")
    server = _program(tmp_path / "rabbitmq-server", "env; exit 1")
    node = LocalNode(replace(_installation(), server=server))
    try:
        node.launch()
        await eventually(node.has_ended)
        assert "RABBITMQ_NODE_PORT" in node.log_tail()
        assert "production" not in node.log_tail()
        assert "ADVANCED" not in node.log_tail()
    finally:
        node.close()


async def test_a_guard_runs_its_command_when_the_parent_is_gone(tmp_path: Path) -> None:
    """However the parent went."""
    mark = tmp_path / "mark"
    script = f"from consumer.devbroker.guard import Guard; import os; Guard('touch \"$2\"', {str(mark)!r}); os._exit(3)"
    assert _run_python(script).returncode == 3
    await eventually(mark.exists)


def test_a_dismissed_guard_runs_nothing(tmp_path: Path) -> None:
    """What was cleaned up in good order is not cleaned up twice."""
    mark = tmp_path / "mark"
    Guard('touch "$2"', str(mark)).dismiss()
    assert not mark.exists()


def test_free_ports_are_apart_from_those_of_outgoing_connections() -> None:
    """A port of the system's own range could be taken by a connection while a node is down."""
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(26000 <= port < 32000 for port in ports)
    assert not any(map(answers, ports))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker client on the PATH that writes down what it is asked; no engine is needed. Gives the notes."""
    asked = tmp_path / "asked"
    _program(
        tmp_path / "docker",
        f'echo "$*" >> {asked}; case "$1" in inspect) echo true;; exec) echo "$@";; logs) echo the log;; esac',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(broker_module, "locate", lambda: None)
    monkeypatch.setattr(broker_module, "apt_install", lambda *_: None)
    return asked


def test_without_programs_a_container_does_it_all(docker: Path) -> None:
    """Published on the loopback interface alone; hurt by docker's own words; removed with its data."""
    said: list[str] = []
    node = broker_module.find_engine(("rabbitmq_management",), said.append)
    assert isinstance(node, ContainerNode)
    assert said == ["RabbitMQ is not installed; running it in a container"]
    assert node.has_ended()
    node.launch()
    node.pause()
    node.kill()
    node.launch()
    assert not node.has_ended()
    assert node.ctl("status", seconds=5).split()[-3:] == ["rabbitmqctl", "--quiet", "status"]
    assert node.log_tail() == "the log\n"
    node.close()
    lines = docker.read_text().splitlines()
    name = f"neuroon-rabbitmq-{node.port}"
    ran = next(line for line in lines if line.startswith("run"))
    assert f"--publish=127.0.0.1:{node.port}:5672" in ran
    assert f"--publish=127.0.0.1:{node.management_port}:15672" in ran
    # What docker has paused it refuses to kill.
    assert lines.index(f"pause {name}") < lines.index(f"unpause {name}") < lines.index(f"kill {name}")
    assert lines.index(f"kill {name}") < lines.index(f"start {name}")
    assert lines[-1] == f"rm --force --volumes {name}"


def test_with_nothing_to_run_it_the_error_says_what_to_do(docker: Path) -> None:
    """Neither programs, nor the right to install them, nor containers."""
    _program(docker.parent / "docker", "exit 1")
    with pytest.raises(NoBrokerError, match="apt-get install rabbitmq-server"):
        PrivateBroker().start()


def test_a_failed_installation_shows_what_apt_get_said(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are the only clue."""
    _program(docker.parent / "docker", "exit 1")
    monkeypatch.setattr(broker_module, "apt_install", lambda *_: "E: Unable to locate package")
    with pytest.raises(NoBrokerError, match="Unable to locate package"):
        PrivateBroker().start()


def test_programs_are_looked_for_and_installed_by_one_process_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits until the first is through, and then finds what that has installed."""
    mark = tmp_path / "installed"
    asked = f"with one_at_a_time(): print(Path({str(mark)!r}).exists())"
    look = f"from pathlib import Path; from consumer.devbroker.apt import one_at_a_time\n{asked}"
    with one_at_a_time():
        second = subprocess.Popen([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(3)
        mark.touch()
    assert second.communicate()[0] == "True\n"
