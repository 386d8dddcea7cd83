"""Listening sockets: bound before anything else starts, so that a taken port is an error of configuration."""

import resource
import socket
from typing import Final

from shmq.config.addresses import split_address
from shmq.errors import ConfigError

BACKLOG: Final = 1024


def listen_on(address: str, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens on `host:port`; port 0 takes a free one.

    Args:
        address: where; a host name is looked up.
        shared: whether other sockets of ours may listen there too, and the kernel spreads connections.

    Raises:
        ConfigError: nobody may listen there, or somebody does.
    """
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {address}: {error.strerror}") from error
    return listening


def allow_many_descriptors() -> None:
    """Allow this process as many open files as it may have: each connection is one, and each queue file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
