"""Free TCP ports on loopback for a broker and its neighbours.

A broker on port P also owns P - 2 (its VIP channel) and P + 1 (replication), so a broker needs a block of ports
free at once. Ports are drawn from below the kernel's ephemeral range: no outgoing connection of another test takes
one between the look and the bind.
"""

import contextlib
import random
import socket
from typing import Final

HOST: Final = "127.0.0.1"

_FIRST: Final = 20_000
_LAST: Final = 32_000
_TRIES_MAX: Final = 200
_random: Final = random.SystemRandom()  # parallel test runs must not draw alike, whatever they seed


def free_port() -> int:
    """Return one port that nobody listens on."""
    return _free(offsets=(0,))


def free_broker_port() -> int:
    """Return a port P where P - 2, P - 1, P and P + 1 are all free."""
    return _free(offsets=(-2, -1, 0, 1))


def _free(offsets: tuple[int, ...]) -> int:
    for _ in range(_TRIES_MAX):
        port = _random.randrange(_FIRST, _LAST)
        if all(_is_free(port + offset) for offset in offsets):
            return port
    raise RuntimeError(f"found no free port between {_FIRST} and {_LAST} in {_TRIES_MAX} tries")


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
