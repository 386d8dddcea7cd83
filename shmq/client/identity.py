"""Who a client is: the id under which brokers know it, and the ids that it gives its messages."""

import itertools
import os
import socket
import time
from datetime import datetime
from typing import Final

from shmq.config.addresses import split_address
from shmq.wire.message import unique_message_id

_MONTH_S: Final = 31 * 86_400


class Identity:
    """One client.

    Attributes:
        client_id: `ip@process#start`, as RocketMQ's clients call themselves.
    """

    def __init__(self, namesrv_address: str) -> None:
        host = _own_address(namesrv_address)
        self.client_id = f"{host}@{os.getpid()}#{time.monotonic_ns()}"
        self._address = socket.inet_aton(host)
        self._salt = int.from_bytes(os.urandom(4), "big")
        self._counter = itertools.count()
        self._month_start_s = self._month_end_s = 0.0

    def next_message_id(self) -> str:
        """Return an id that no other message has."""
        now_s = time.time()
        if not self._month_start_s <= now_s < self._month_end_s:
            self._month_start_s = _month_start(now_s)
            self._month_end_s = _month_start(self._month_start_s + _MONTH_S)
        elapsed_ms = int((now_s - self._month_start_s) * 1000)
        return unique_message_id(self._address, os.getpid(), self._salt, elapsed_ms, next(self._counter))


def _month_start(moment_s: float) -> float:
    """Return when the month of a moment began in local time."""
    moment = datetime.fromtimestamp(moment_s).astimezone()
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None).timestamp()


def _own_address(peer: str) -> str:
    """Return the IPv4 address by which this machine reaches a peer; loopback where there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(split_address(peer))  # sends nothing: it only picks the interface
            address: str = probe.getsockname()[0]
    except OSError:
        return "127.0.0.1"
    return address
