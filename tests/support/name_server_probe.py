"""Ask a name server whether it knows a broker yet.

RocketMQ's broker says "boot success" even where its first registration failed on a loaded machine; the next follows
ten seconds later. The question is put on a socket here, with no code of shmq, since it judges other peers.
"""

import json
import socket
import struct
import threading
import time
from typing import Final

_GET_BROKER_CLUSTER_INFO: Final = 106
_ASK_AGAIN_S: Final = 0.05
_ANSWER_DEADLINE_S: Final = 5.0


def wait_registered(namesrv_address: str, broker_name: str, deadline_s: float) -> None:
    """Wait until the name server lists the broker."""
    give_up_at = time.monotonic() + deadline_s
    pause = threading.Event()  # never set: there is no event to wait for, a name server tells nobody
    while f'"{broker_name}"'.encode() not in _cluster_info(namesrv_address):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{namesrv_address} did not list {broker_name} in {deadline_s} s")
        pause.wait(_ASK_AGAIN_S)


def _cluster_info(namesrv_address: str) -> bytes:
    host, port = namesrv_address.split(":")
    header = json.dumps({"code": _GET_BROKER_CLUSTER_INFO, "opaque": 1, "flag": 0, "version": 0}).encode()
    frame = struct.pack(">ii", 4 + len(header), len(header)) + header
    with socket.create_connection((host, int(port)), timeout=_ANSWER_DEADLINE_S) as connection:
        connection.sendall(frame)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise AssertionError("the name server closed the connection instead of answering")
        received += piece
    return received
