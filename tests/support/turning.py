"""Turn sockets of several owners in one thread until something has happened, without a sleep."""

import select
from collections.abc import Callable, Sequence
from typing import Any

from shmq.workers.sockets import SocketServer

WAIT_S = 10.0


def turn_until(
    condition: Callable[[], Any], servers: Sequence[SocketServer], turn: Callable[[], object]
) -> None:
    """Call turn() whenever one of the servers has something to do, until the condition holds."""
    turn()
    while not condition():
        ready = select.select([server._epoll for server in servers], [], [], WAIT_S)[0]
        assert ready, "nothing happened for a long time"
        turn()
