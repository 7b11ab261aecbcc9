"""RabbitMQ's programs on this machine."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
_ERLANG_FOLDERS = ("/usr/lib/erlang/bin", "/opt/homebrew/bin", "/usr/local/bin", "/opt/erlang/lib/erlang/bin")


@dataclass(frozen=True, slots=True)
class Installation:
    """RabbitMQ's server and control program, Erlang's port mapper, and the PATH on which they find Erlang."""

    server: Path
    ctl: Path
    epmd: Path
    path: str


def locate() -> Installation | None:
    """The installed RabbitMQ, or None."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ERLANG_FOLDERS))
    folder = next(_script_folders(path), None)
    epmd = _epmd(path)
    if folder is None or epmd is None:
        return None
    return Installation(folder / "rabbitmq-server", folder / "rabbitmqctl", epmd, path)


def _script_folders(path: str) -> Iterator[Path]:
    """Folders with RabbitMQ's own scripts, not the wrappers on the PATH that insist on a user called rabbitmq."""
    folders = (
        folder for pattern in _FOLDERS for folder in sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True)
    )
    for folder in (*folders, *map(Path, path.split(os.pathsep))):
        own = (folder / "rabbitmq-server").resolve().parent
        if (own / "rabbitmq-env").is_file() and (own / "rabbitmq-server").is_file():
            yield own


def _epmd(path: str) -> Path | None:
    if found := shutil.which("epmd", path=path):
        return Path(found)
    erl = shutil.which("erl", path=path)
    if erl is None:
        return None
    # Some packages leave it inside the Erlang runtime only: lib/erlang/bin/erl, lib/erlang/erts-14.2/bin/epmd.
    runtime = Path(erl).resolve().parent.parent
    return next(iter(sorted(runtime.glob("erts-*/bin/epmd"), reverse=True)), None)
