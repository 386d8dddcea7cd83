"""One peer's TCP connection as its owner sees it, and the limits that every connection keeps.

A connection belongs to the SocketServer that accepted it; some of its attributes are for that server
alone. An id is given once in the life of a process, so that a letter about a connection that is gone
can never reach its successor on the same file descriptor.
"""

import ipaddress
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from shmq.store.host import Host, pack_address
from shmq.wire.frame import FrameReader

_IPV4_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows its peers.

    Attributes:
        frame_bytes_max: longest frame; a longer one closes its connection.
        output_bytes_max: most bytes that may wait for a slow reader.
        connections_max: further connections are closed at once.
        idle_ms: a connection on which nothing moved for so long is closed.
    """

    frame_bytes_max: int
    output_bytes_max: int
    connections_max: int
    idle_ms: int


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, and whether it is the VIP channel."""

    socket: socket.socket
    is_vip: bool = False


class Connection:
    """One peer.

    Attributes:
        id: never given twice by this process.
        peer: the peer's address.
        local: the address that the peer dialled.
        is_vip: whether it came in on a VIP listener.
        listener: index of that listener.
        data: for the owner of the server to use.
        last_active_ms: when bytes last moved, either way.
        is_open: False once it went away; what is sent to it then is dropped.
        output_bytes: how much waits for the peer to read.
        socket, reader, output, events, is_held_back: for the server alone.
    """

    __slots__ = (
        "data",
        "events",
        "id",
        "is_held_back",
        "is_open",
        "is_vip",
        "last_active_ms",
        "listener",
        "local",
        "output",
        "output_bytes",
        "peer",
        "reader",
        "socket",
    )

    def __init__(self, accepted: socket.socket, connection_id: int, limits: Limits) -> None:
        self.id = connection_id
        self.peer = host_of(accepted.getpeername())
        self.local = host_of(accepted.getsockname())
        self.is_vip = False
        self.listener = 0
        self.data: Any = None
        self.last_active_ms = 0
        self.is_open = True
        self.output_bytes = 0
        self.socket = accepted
        self.reader = FrameReader(limits.frame_bytes_max)
        self.output: deque[bytes | memoryview] = deque()
        self.events = 0
        self.is_held_back = False

    def __repr__(self) -> str:
        """Name the connection as log lines do."""
        return f"Connection({self.id}, {name_of(self.peer)})"


def host_of(socket_address: Any) -> Host:
    """Return the Host of a socket address."""
    return Host(pack_address(socket_address[0].partition("%")[0]), socket_address[1])


def name_of(host: Host) -> str:
    """Return a Host as `address:port`."""
    address = str(ipaddress.ip_address(host.address))
    return f"{address}:{host.port}" if len(host.address) == _IPV4_BYTES else f"[{address}]:{host.port}"
