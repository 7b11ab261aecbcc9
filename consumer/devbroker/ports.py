"""Ports that nothing listens on, and a look at whether something does."""

import random
import socket
from contextlib import closing

# Below what Linux (32768) and macOS (49152) hand out to outgoing connections. A port from their range could be taken by
# any connection while the node is down between a kill and a restart, and the node could not come back on it.
_RANGE = range(26000, 32000)
# Handed out already by this process. Nodes of one cluster are all given theirs before the first of them listens: of
# twelve ports drawn from 6000, two would be the same in one run of a hundred.
_given: set[int] = set()
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


def free_ports(count: int) -> list[int]:
    """`count` ports of the loopback interface that can be listened on now; none is given twice by one process."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            break
        if port not in _given and _is_free(port):
            found.append(port)
            _given.add(port)
    return found


def answers(port: int) -> bool:
    """Whether anything accepts a connection on `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def speaks_amqp(port: int) -> bool:
    """Whether a broker on `port` answers the protocol header, as it does once it is up.

    A bare connection proves less: a container's port forwarder accepts it before there is a broker behind.
    """
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
            connection.sendall(_AMQP_HEADER)
            # A method frame (1), Connection.Start; a node that is still booting closes instead.
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
