"""Installing a package of Debian or Ubuntu, where that is allowed without asking for a password."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.devbroker.program import run, succeeds

_SECONDS = 600
_DPKG = Path("/var/lib/dpkg")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Look for programs, and install them, while no other process of ours does: it may find them half unpacked.

    Blocks until the other is through. The lock is on dpkg's folder, which everybody may open and which is there
    wherever apt_install can do anything; it ends with the process.
    """
    if not _DPKG.is_dir():
        yield
        return
    folder = os.open(_DPKG, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def apt_install(package: str, say: Callable[[str], None]) -> str | None:
    """What apt-get printed while it installed `package`; None where it is not there or not allowed.

    Whether the programs are there now is for the caller to see: a package that cannot start its service reports a
    failure, and has its programs installed all the same.
    """
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (sudo and not succeeds([*sudo, "true"], 5)):
        return None
    say(f"{package} is not installed; installing it with apt-get, which takes a minute or two")
    # RUNLEVEL=1 asks the package not to start a service on its usual port. Where it does all the same, no harm is done.
    environment = ["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "PREVLEVEL=N"]
    apt = [*sudo, "env", *environment, "apt-get", "-o", "DPkg::Lock::Timeout=120", "-qq"]
    run([*apt, "update"], _SECONDS)
    return run([*apt, "install", "--yes", "--no-install-recommends", package], _SECONDS).stdout
