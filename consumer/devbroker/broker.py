"""The private broker as its users see it, whatever runs it."""

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from consumer.devbroker.apt import apt_install, one_at_a_time
from consumer.devbroker.container import ContainerNode, engine_answers
from consumer.devbroker.engine import Engine
from consumer.devbroker.errors import BrokerStartError, NoBrokerError
from consumer.devbroker.installation import locate
from consumer.devbroker.node import LocalNode
from consumer.devbroker.ports import answers, speaks_amqp

# About 7 s on two cores; a loaded machine may take several times that.
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_CTL_SECONDS = 60.0
_NO_BROKER = (
    "RabbitMQ is not installed, and this user may not install it. Do one of these and try again:\n"
    "  Debian, Ubuntu:  sudo apt-get install rabbitmq-server\n"
    "  macOS:           brew install rabbitmq\n"
    "  anywhere:        start Docker\n"
    "It only needs to be installed; a node that runs already is left alone."
)
# A share of the memory small enough to be exceeded by any node, and RabbitMQ's own default.
_ALARMING, _USUAL = "0.0000001", "0.4"


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class PrivateBroker:
    """A RabbitMQ node of one's own, for guest/guest on 127.0.0.1. Its data survive everything but `close`.

    Every method blocks, `start` for about 7 s: from a coroutine, `await asyncio.to_thread(broker.restart)`. As a
    context manager it is started and closed. Should the process die without closing it, the node and its files go all
    the same.
    """

    def __init__(self, plugins: Sequence[str] = (), *, say: Callable[[str], None] = _to_stderr) -> None:
        """`plugins`: names such as rabbitmq_management. `say` is told what takes long. Nothing is started yet."""
        self._plugins = tuple(plugins)
        self._say = say
        self._found: Engine | None = None

    @property
    def _engine(self) -> Engine:
        if self._found is None:
            self._found = find_engine(self._plugins, self._say)
        return self._found

    @property
    def port(self) -> int:
        """Where AMQP is spoken; the same after every restart."""
        return self._engine.port

    @property
    def url(self) -> str:
        """What AMQP_URL would be set to."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def management_url(self) -> str:
        """What RABBITMQ_MANAGEMENT_URL would be set to; raises ValueError without the plugin."""
        if self._engine.management_port is None:
            raise ValueError("this broker runs without the plugin rabbitmq_management")
        return f"http://guest:guest@127.0.0.1:{self._engine.management_port}"

    def start(self) -> None:
        """Start the node, or start it again on the same data, and wait until it takes connections.

        One that runs is only waited for. Raises NoBrokerError when there is no RabbitMQ to be had, BrokerStartError
        when it does not come up.
        """
        if self._engine.has_ended():
            self._engine.launch()
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_up():
            if self._engine.has_ended() or time.monotonic() > deadline:
                raise BrokerStartError(f"RabbitMQ did not come up. Its log ends:\n{self._engine.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop in good order, as an upgrade would: clients are told. About 1 s, 6 s with the management plugin."""
        self._engine.terminate(_STOP_SECONDS)

    def kill(self) -> None:
        """End at once, as by `kill -9` or a power cut; returns when it is gone."""
        self._engine.kill()

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, as when a machine swaps or a virtual one is moved."""
        self._engine.pause()

    def resume(self) -> None:
        """Go on after `pause`; harmless without one."""
        self._engine.resume()

    def set_memory_alarm(self, on: bool) -> None:
        """Raise or clear the memory alarm; under it, connections that publish are read no more. About 1 s."""
        self.ctl("set_vm_memory_high_watermark", _ALARMING if on else _USUAL)

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints for these arguments; raises BrokerError when it fails. About 1 s each."""
        return self._engine.ctl(*arguments, seconds=_CTL_SECONDS)

    def close(self) -> None:
        """End the node, paused or not, and remove everything it has written. Harmless when repeated."""
        if self._found is not None:
            self._found.close()
            self._found = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_up(self) -> bool:
        management = self._engine.management_port
        return speaks_amqp(self._engine.port) and (management is None or answers(management))


def find_engine(plugins: Sequence[str], say: Callable[[str], None]) -> Engine:
    """Installed programs, else programs to be installed, else a container; raises NoBrokerError."""
    printed = None
    with one_at_a_time():
        installation = locate()
        if installation is None:
            printed = apt_install("rabbitmq-server", say)
            installation = locate()
    if installation is not None:
        return LocalNode(installation, plugins)
    if engine_answers():
        say("RabbitMQ is not installed; running it in a container")
        return ContainerNode(plugins)
    if printed is not None:
        raise NoBrokerError(f"apt-get did not install rabbitmq-server; it said:\n{printed[-2000:].strip()}")
    raise NoBrokerError(_NO_BROKER)
