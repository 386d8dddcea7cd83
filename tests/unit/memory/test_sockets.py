import errno
import socket

import numpy as np
import pytest

from shmq.memory import sockets
from shmq.memory.block import address_of


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours.fileno(), theirs


def test_what_a_peer_sent_is_received_and_its_end_seen(pair):
    ours, theirs = pair
    room = np.zeros(8, dtype=np.uint8)
    assert sockets.receive(ours, address_of(room), 8) == sockets.WOULD_WAIT
    theirs.send(b"hello")
    assert sockets.receive(ours, address_of(room), 4) == 4
    assert sockets.receive(ours, address_of(room) + 4, 4) == 1
    assert bytes(room) == b"hello\0\0\0"
    theirs.close()
    assert sockets.receive(ours, address_of(room), 4) == 0


def test_two_ranges_are_filled_in_turn(pair):
    ours, theirs = pair
    room = np.zeros(16, dtype=np.uint8)
    ranges = np.zeros(sockets.RANGES_BYTES, dtype=np.uint8)
    at = address_of(room)
    sockets.name_ranges(address_of(ranges), at + 12, 3, at, 8)
    theirs.send(b"endstart")
    assert sockets.receive_into_both(ours, address_of(ranges)) == 8
    assert bytes(room) == b"start" + bytes(7) + b"end\0"


def test_what_is_sent_arrives_and_a_peer_that_is_gone_is_an_error(pair):
    ours, theirs = pair
    words = np.frombuffer(bytearray(b"to the peer"), dtype=np.uint8)
    assert sockets.send(ours, address_of(words), 11) == 11
    assert theirs.recv(20) == b"to the peer"
    theirs.close()
    assert sockets.send(ours, address_of(words), 11) == -errno.EPIPE


def test_a_peer_that_does_not_read_takes_no_more_than_fits(pair):
    ours, _ = pair
    many = np.zeros(8 << 20, dtype=np.uint8)
    assert 0 < sockets.send(ours, address_of(many), len(many)) < len(many)
    assert sockets.send(ours, address_of(many), len(many)) == sockets.WOULD_WAIT
