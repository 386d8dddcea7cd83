import os

import numpy as np
import pytest

from shmq.broker.outcome import Peer
from shmq.memory.block import address_of
from shmq.ring import doorbell, spsc
from shmq.store.host import Host
from shmq.wire.frame import Frame
from shmq.workers.letters import (
    Inbox,
    Kind,
    Letter,
    Outbox,
    pack_frame,
    pack_request,
    unpack_frame,
    unpack_request,
)

CAPACITY_BYTES = 1024
PART_BYTES = CAPACITY_BYTES // 8


class Post:
    """A ring of letters in the middle of some memory, as in the segment, and both its ends."""

    def __init__(self):
        self.bell = np.zeros(doorbell.SIZE, dtype=np.uint8)
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        doorbell.initialise(address_of(self.bell), self.descriptor)
        self.memory = np.zeros(spsc.ring_bytes(CAPACITY_BYTES), dtype=np.uint8)
        spsc.initialise(address_of(self.memory), CAPACITY_BYTES)
        self.outbox = self.new_outbox()
        self.inbox = self.new_inbox()

    def new_outbox(self):
        """Another life of the sender."""
        return Outbox(self.memory, address_of(self.memory), CAPACITY_BYTES, address_of(self.bell))

    def new_inbox(self):
        """Another life of the receiver."""
        return Inbox(self.memory, address_of(self.memory))

    def sleep(self):
        doorbell.will_sleep(address_of(self.bell))

    @property
    def was_rung(self):
        try:
            return os.eventfd_read(self.descriptor) > 0
        except BlockingIOError:
            return False

    def read(self, count_max=100):
        return list(self.inbox.letters(count_max))


@pytest.fixture
def post():
    made = Post()
    yield made
    os.close(made.descriptor)


def test_letters_arrive_in_order_as_they_were_sent(post):
    post.outbox.post(Kind.HELLO, 3)
    post.outbox.post(Kind.REQUEST, 1 << 50, [b"one", memoryview(b"two")])
    post.outbox.post(Kind.CLOSED, -1)
    assert post.read() == [
        Letter(Kind.HELLO, 3, b""),
        Letter(Kind.REQUEST, 1 << 50, b"onetwo"),
        Letter(Kind.CLOSED, -1, b""),
    ]
    assert post.inbox.is_empty
    assert post.read() == []


def test_no_more_letters_are_taken_than_asked_for(post):
    for tag in range(5):
        post.outbox.post(Kind.CLOSED, tag)
    assert [each.tag for each in post.read(2)] == [0, 1]
    assert [each.tag for each in post.read(9)] == [2, 3, 4]


def test_a_letter_taken_stays_as_it_was(post):
    post.outbox.post(Kind.UPDATE, 0, [b"first"])
    (letter,) = post.read()
    for _ in range(100):
        post.outbox.post(Kind.UPDATE, 0, [b"other"])
        post.read()
    assert letter.payload == b"first"


def test_who_sleeps_is_rung_for_once_a_flush(post):
    post.sleep()
    post.outbox.post(Kind.CLOSED, 1)
    assert not post.was_rung
    post.outbox.flush()
    assert post.was_rung
    post.sleep()
    post.outbox.flush()
    assert not post.was_rung


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 5 * CAPACITY_BYTES + 3])
def test_a_letter_of_any_length_arrives_whole_and_in_its_turn(post, size):
    content = np.random.default_rng(size).bytes(size)
    post.outbox.post(Kind.CLOSED, 1)
    post.outbox.post(Kind.ANSWER, 2, [content[:100], content[100:]])
    post.outbox.post(Kind.CLOSED, 3)
    arrived = []
    while post.outbox.backlog or not post.inbox.is_empty:
        arrived += post.read()
        post.outbox.flush()
    assert arrived == [
        Letter(Kind.CLOSED, 1, b""),
        Letter(Kind.ANSWER, 2, content),
        Letter(Kind.CLOSED, 3, b""),
    ]


def test_what_finds_the_ring_full_waits_in_order(post):
    sent = [bytes([number]) * 100 for number in range(40)]
    for number, payload in enumerate(sent):
        post.outbox.post(Kind.PUSH, number, [payload])
    assert post.outbox.backlog > 0
    arrived = []
    while post.outbox.backlog or not post.inbox.is_empty:
        arrived += [(each.tag, each.payload) for each in post.read()]
        post.outbox.flush()
    assert arrived == list(enumerate(sent))


def test_what_waits_for_a_process_that_is_gone_can_be_forgotten(post):
    for _ in range(40):
        post.outbox.post(Kind.PUSH, 0, [b"x" * 100])
    post.outbox.forget()
    assert post.outbox.backlog == 0
    post.read()
    post.outbox.post(Kind.HELLO, 9)
    assert post.read() == [Letter(Kind.HELLO, 9, b"")]


@pytest.mark.parametrize("first", [Kind.HELLO, Kind.RESTARTED])
def test_fragments_of_a_sender_that_died_are_thrown_away(post, first):
    post.outbox.post(Kind.ANSWER, 1, [b"x" * 20 * PART_BYTES])
    assert post.outbox.backlog > 0
    post.read()
    post.outbox = post.new_outbox()
    post.outbox.post(first, 2)
    post.outbox.post(Kind.CLOSED, 3)
    assert post.read() == [Letter(first, 2, b""), Letter(Kind.CLOSED, 3, b"")]


def test_a_new_receiver_throws_away_what_its_predecessor_was_sent(post):
    post.outbox.post(Kind.REQUEST, 1, [b"x"])
    post.inbox = post.new_inbox()
    post.inbox.skip_all()
    assert post.inbox.is_empty
    post.outbox.post(Kind.HELLO, 2)
    assert post.read() == [Letter(Kind.HELLO, 2, b"")]


V4, V6 = Host(b"\x7f\0\0\1", 50_000), Host(bytes(range(16)), 65_535)


@pytest.mark.parametrize("peer", [Peer(V4, V6), Peer(V6, V4, is_vip=True), Peer(V4, V4)])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_a_request_is_unpacked_as_it_was_packed(peer, body):
    frame = Frame((1 << 24) | 6, b"header", body)
    packed = b"".join(pack_request(1 << 40, peer, frame))
    assert unpack_request(packed) == (1 << 40, peer, frame)


def test_a_frame_is_unpacked_as_it_was_packed():
    for frame in (Frame(0, b"", b""), Frame(3, b"abc", b"body"), Frame((1 << 24) | 2, b"ab", b"")):
        assert unpack_frame(b"".join(pack_frame(frame))) == frame
