"""Which address a client is told to dial: that of the interface it came in on, if one is advertised for it."""

import socket

from shmq.config.addresses import split_address
from shmq.config.settings import Config
from shmq.errors import ConfigError
from shmq.store.host import Host
from shmq.workers.connection import host_of


class Advertising:
    """The broker's addresses as clients dial them.

    Attributes:
        default: what is registered with name servers (Java's brokerIP1).
    """

    def __init__(self, config: Config) -> None:
        """Resolve what the configuration advertises.

        Raises:
            ConfigError: a name does not resolve.
        """
        self.default = _resolve(config.effective_advertised_address())
        self._by_interface = {host.address: host for host in map(_resolve, config.advertised_listeners)}

    def host_for(self, local: Host) -> Host:
        """The advertised address for a client that dialled this one of ours."""
        return self._by_interface.get(local.address, self.default)


def _resolve(address: str) -> Host:
    name, port = split_address(address)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"the advertised address {address!r} does not resolve: {error}") from error
    by_family = sorted(found, key=lambda each: each[0] != socket.AF_INET)
    return host_of(by_family[0][4])
