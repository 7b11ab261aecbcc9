"""Cleaning up after a parent that cannot: one killed by SIGKILL, or gone without a word."""

import subprocess

# `read` ends with a line when the parent lets go in good order, and at the end of file when the parent has died.
_WATCH = 'read -r _ || eval "$1"'


class Guard:
    """A shell that runs a command once this process is gone, however it went.

    It holds the reading end of a pipe; the kernel closes the writing end with this process. (PR_SET_PDEATHSIG would be
    Linux only, and fires when the thread that started the child ends, not the process.)
    """

    def __init__(self, command: str, *arguments: str) -> None:
        """`command` is shell text; it finds `arguments` as $2, $3 and so on."""
        # A session of its own: what kills the parent's whole group or terminal must not take the guard along.
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "guard", command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """There is nothing left to clean up; end without running the command."""
        self._shell.communicate(b"\n")
