"""Turn sockets of several owners in one thread until something has happened, without a sleep."""

from collections.abc import Callable, Sequence
from typing import Any

from shmq.workers.sockets import SocketServer
from tests.support.readiness import wait_readable

WAIT_S = 10.0


def turn_until(
    condition: Callable[[], Any], servers: Sequence[SocketServer], turn: Callable[[], object]
) -> None:
    """Call turn() whenever one of the servers has something to do, until the condition holds."""
    turn()
    while not condition():
        assert wait_readable([server._epoll for server in servers], WAIT_S), (
            "nothing happened for a long time"
        )
        turn()
