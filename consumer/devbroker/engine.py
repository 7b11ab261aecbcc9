"""What runs a private broker: installed programs, or a container. Both do as `Engine` says."""

from typing import Protocol


class Engine(Protocol):
    """One RabbitMQ node that can be started, hurt and taken away. Its data stay until `close`."""

    port: int
    """AMQP, on 127.0.0.1."""
    management_port: int | None
    """The management plugin's HTTP, on 127.0.0.1; None without the plugin."""

    def launch(self) -> None:
        """Start the node without waiting until it is up."""

    def has_ended(self) -> bool:
        """Whether the node does not run (yet, or any longer), so that waiting for it is in vain."""

    def terminate(self, seconds: float) -> None:
        """Stop in good order (SIGTERM); killed when it takes longer than `seconds`."""

    def kill(self) -> None:
        """End at once (SIGKILL)."""

    def pause(self) -> None:
        """Freeze: connections stay open and nothing answers (SIGSTOP)."""

    def resume(self) -> None:
        """Go on after `pause` (SIGCONT); harmless without one."""

    def ctl(self, *arguments: str, seconds: float) -> str:
        """What rabbitmqctl prints; raises BrokerError when it fails."""

    def log_tail(self) -> str:
        """The last lines that the node wrote."""

    def close(self) -> None:
        """End the node and remove everything it has written."""
