"""A node in a container, where RabbitMQ is not installed but a Docker engine answers."""

from collections.abc import Sequence

from consumer.devbroker.errors import BrokerError, BrokerStartError
from consumer.devbroker.guard import Guard
from consumer.devbroker.ports import free_ports
from consumer.devbroker.program import run, succeeds

_IMAGE = "rabbitmq:4-management"
_CLEAN_UP = 'docker rm --force --volumes "$2"'
_AMQP, _MANAGEMENT = 5672, 15672
_PULL_SECONDS = 600
_COMMAND_SECONDS = 60


def engine_answers() -> bool:
    """Whether there is a Docker client with an engine behind it."""
    return succeeds(["docker", "info"], 20)


class ContainerNode:
    """A RabbitMQ container of its own, reachable on the loopback interface only. The image lets guest in from there."""

    def __init__(self, plugins: Sequence[str] = ()) -> None:
        """Choose ports and a name; nothing is created before `launch`."""
        self.port, management = free_ports(2)
        self.management_port = management if "rabbitmq_management" in plugins else None
        self._name = f"neuroon-rabbitmq-{self.port}"
        self._created = False
        self._paused = False
        self._guard = Guard(_CLEAN_UP, self._name)

    def launch(self) -> None:
        """Start the node without waiting until it is up; the first time this may fetch the image."""
        if self._created:
            _docker("start", self._name)
            return
        publish = [f"--publish=127.0.0.1:{self.port}:{_AMQP}"]
        if self.management_port is not None:
            publish.append(f"--publish=127.0.0.1:{self.management_port}:{_MANAGEMENT}")
        # A fixed host name, because a node finds its data again by its name.
        try:
            _docker(
                "run", "--detach", f"--name={self._name}", "--hostname=private", *publish, _IMAGE, seconds=_PULL_SECONDS
            )
        except BrokerError as error:
            raise BrokerStartError(str(error)) from error
        self._created = True

    def has_ended(self) -> bool:
        """Whether the container does not run."""
        return not self._created or _docker("inspect", "--format={{.State.Running}}", self._name).strip() != "true"

    def terminate(self, seconds: float) -> None:
        """Stop in good order; killed when it takes longer than `seconds`."""
        self.resume()
        _docker("stop", f"--time={round(seconds)}", self._name, seconds=seconds + _COMMAND_SECONDS)

    def kill(self) -> None:
        """End at once."""
        self.resume()  # docker will not kill what it has paused
        _docker("kill", self._name)

    def pause(self) -> None:
        """Freeze: connections stay open and nothing answers."""
        _docker("pause", self._name)
        self._paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._paused:
            _docker("unpause", self._name)
            self._paused = False

    def ctl(self, *arguments: str, seconds: float) -> str:
        """What rabbitmqctl prints; raises BrokerError when it fails."""
        return _docker("exec", self._name, "rabbitmqctl", "--quiet", *arguments, seconds=seconds)

    def log_tail(self) -> str:
        """The last lines that the node printed."""
        return _docker("logs", "--tail=30", self._name)

    def close(self) -> None:
        """Remove the container and its data."""
        if self._created:
            _docker("rm", "--force", "--volumes", self._name)
        self._guard.dismiss()


def _docker(command: str, *arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
    """What docker prints; raises BrokerError when it fails."""
    done = run(["docker", command, *arguments], seconds)
    if done.returncode != 0:
        raise BrokerError(f"docker {command} failed: {done.stdout.strip()[-1000:]}")
    return done.stdout
