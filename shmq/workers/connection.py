"""One peer's TCP connection as its owner sees it, and the limits that every connection keeps.

A connection belongs to the server that accepted it, and each kind of server adds what it needs. An id is given once in
the life of a process, so that a letter about a connection that is gone can never reach its successor on the same file
descriptor.
"""

import ipaddress
import socket
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

from shmq.store.host import Host, pack_address

_IPV4_BYTES: Final = 4

_IDLE_LOOKS: Final = 4

_ids = count(1)


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

    @property
    def idle_look_ms(self) -> int:
        """How often who sleeps gets up to look for an idle connection: it is closed so much later at most."""
        return self.idle_ms // _IDLE_LOOKS


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, and whether it is the VIP channel."""

    socket: socket.socket
    is_vip: bool = False


class Accepted(NamedTuple):
    """A socket that a peer has dialled.

    Attributes:
        socket: non-blocking, and in no hurry to wait for more before it sends.
        peer: the peer's address.
        local: the address that the peer dialled.
        listener: index of the listener that it came in on.
        is_vip: whether that is the VIP channel.
    """

    socket: socket.socket
    peer: Host
    local: Host
    listener: int
    is_vip: bool


class Connection:
    """One peer.

    Attributes:
        id: never given twice by this process.
        peer: the peer's address.
        local: the address that the peer dialled.
        is_vip: whether it came in on a VIP listener.
        listener: index of that listener.
        data: for the owner of the server to use.
        is_open: False once it went away; what is sent to it then is dropped.
        socket: for the server alone.
    """

    __slots__ = ("data", "id", "is_open", "is_vip", "listener", "local", "peer", "socket")

    def __init__(self, accepted: Accepted) -> None:
        self.id = next(_ids)
        self.peer = accepted.peer
        self.local = accepted.local
        self.is_vip = accepted.is_vip
        self.listener = accepted.listener
        self.data: Any = None
        self.is_open = True
        self.socket = accepted.socket

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
