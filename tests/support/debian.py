"""Programs that only the tests need, from Debian's packages when they are not there."""

import shutil
import subprocess
import sys

from consumer.devbroker.apt import apt_install, one_at_a_time


def program(name: str, package: str) -> str:
    """Where `name` is; installed first if it may be, otherwise RuntimeError says what to do."""
    with one_at_a_time():
        if shutil.which(name) is None:
            apt_install(package, lambda text: print(text, file=sys.stderr))
        found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is needed for this test: apt-get install {package}, or put it on the PATH")
    return found


def faketime() -> str:
    """The library that gives a process another wall clock, for LD_PRELOAD."""
    command = program("faketime", "faketime")
    asked = [command, "-f", "+0", sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])"]
    preloaded: str = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    # The variant for programs with threads lies beside the plain one.
    return preloaded.replace("libfaketime.so", "libfaketimeMT.so")
