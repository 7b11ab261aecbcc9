"""A node run from installed programs, as any user, in a folder of its own."""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from consumer.devbroker.errors import BrokerError, BrokerStartError
from consumer.devbroker.guard import Guard
from consumer.devbroker.installation import Installation
from consumer.devbroker.ports import answers, free_ports
from consumer.devbroker.program import run

# "$2" is the process group of the port mapper and the node, "$3" their folder.
_CLEAN_UP = 'kill -9 -"$2"; sleep 0.2; rm -rf "$3"'
_EPMD_SECONDS = 10
_CTL_PORTS = 20
_LOG_LINES = 30


class LocalNode:
    """A RabbitMQ of its own: its name, ports, folders, cookie and Erlang port mapper are shared with no other.

    Only one made `beside` another shares that one's cookie and port mapper, so that the two can form a cluster.

    The node leads no process group: it shares its port mapper's, so that one signal reaches both when all is over.
    """

    def __init__(
        self, installation: Installation, plugins: Sequence[str] = (), *, host: "LocalNode | None" = None
    ) -> None:
        """Choose ports and make the folder; `plugins` are RabbitMQ's own names of them. For `host` see `beside`."""
        self._installation, self._host = installation, host
        self.folder = Path(tempfile.mkdtemp(prefix="neuroon-rabbitmq-"))
        self.port, epmd_port, self._cluster_port, management = free_ports(4)
        self.management_port = management if "rabbitmq_management" in plugins else None
        self.name = f"private{self.port}@localhost"
        self.home: Path = self.folder / "home" if host is None else host.home  # the cookie lives here
        self.epmd_port: int = epmd_port if host is None else host.epmd_port
        self._process: subprocess.Popen[bytes] | None = None
        self._lay_out(plugins)
        self.epmd: subprocess.Popen[bytes] = self._start_epmd() if host is None else host.epmd
        self._guard = Guard(_CLEAN_UP, str(self.process_group), str(self.folder))

    def beside(self) -> "LocalNode":
        """Another node, which can join this one in a cluster; to be closed before this one."""
        return LocalNode(self._installation, host=self)

    @property
    def process_group(self) -> int:
        """The group that the node and its port mapper are in."""
        return self.epmd.pid

    def launch(self) -> None:
        """Start the node without waiting until it is up."""
        self._await_epmd()
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [self._installation.server],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self.process_group,
            )

    def has_ended(self) -> bool:
        """Whether the node does not run."""
        return self._process is None or self._process.poll() is not None

    def terminate(self, seconds: float) -> None:
        """Stop in good order; killed when it takes longer than `seconds`."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End at once."""
        self._signal(signal.SIGKILL)
        self._wait(None)

    def pause(self) -> None:
        """Freeze: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def ctl(self, *arguments: str, seconds: float) -> str:
        """What rabbitmqctl prints; raises BrokerError when it fails. It starts an Erlang of its own: about a second."""
        command = [str(self._installation.ctl), "--quiet", *arguments]
        done = run(command, seconds, env=self._environment(), cwd=self.folder)
        if done.returncode != 0:
            raise BrokerError(f"rabbitmqctl {arguments[0]} failed: {done.stdout.strip()}")
        return done.stdout

    def log_tail(self) -> str:
        """The last lines of what the node printed and logged."""
        files = [self._output, *sorted((self.folder / "log").glob("*.log"))]
        texts = [file.read_text(errors="replace") for file in files if file.exists()]
        return "\n".join("\n".join(text.splitlines()[-_LOG_LINES:]) for text in texts if text)

    def close(self) -> None:
        """End the node and its port mapper, unless that is another's, and remove the folder."""
        self.kill()
        if self._host is None:
            self.epmd.kill()
            self.epmd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._guard.dismiss()

    @property
    def _output(self) -> Path:
        return self.folder / "output"

    def _lay_out(self, plugins: Sequence[str]) -> None:
        for name in ("home", "data", "log"):
            (self.folder / name).mkdir()
        if self._host is None:
            # Before any node starts: two that start at once would each make one.
            cookie = self.home / ".erlang.cookie"
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)
        (self.folder / "plugins").write_text(f"[{','.join(plugins)}].\n")
        settings = ["disk_free_limit.absolute = 10MB"]
        if self.management_port is not None:
            settings += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}"]
        (self.folder / "rabbitmq.conf").write_text("\n".join(settings) + "\n")

    def _environment(self) -> dict[str, str]:
        """Nothing of our own environment but PATH: a RABBITMQ_* of the machine's broker must not leak in."""
        folder = self.folder
        return {
            "PATH": self._installation.path,
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._cluster_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(self._cluster_port + 1),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(self._cluster_port + _CTL_PORTS),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            # The script then becomes the node instead of standing guard over it: our signals reach it, and SIGTERM
            # takes one second instead of six.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _start_epmd(self) -> subprocess.Popen[bytes]:
        # In the foreground, hence ours to end; the node would leave a daemon behind.
        return subprocess.Popen(
            [self._installation.epmd, "-port", str(self.epmd_port), "-address", "127.0.0.1"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def _await_epmd(self) -> None:
        deadline = time.monotonic() + _EPMD_SECONDS
        while not answers(self.epmd_port):
            if self.epmd.poll() is not None or time.monotonic() > deadline:
                raise BrokerStartError(f"Erlang's port mapper does not answer: {self._installation.epmd}")
            time.sleep(0.01)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, seconds: float | None) -> None:
        if self._process is not None:
            self._process.wait(seconds)
