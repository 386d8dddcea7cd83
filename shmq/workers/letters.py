"""Letters between a network worker and the conductor, over a pair of rings.

    up: worker -> conductor      tag             payload
    ---------------------------  --------------  ------------------------------------------------
    HELLO                        worker's epoch  nothing: "I am new, tell me everything"
    REQUEST                      serial          peer, connection, frame: a client's control request
    ANNOUNCE                     connection      peer, connection, frame: a heartbeat heard before; no answer
    RESPONSE                     connection      frame: a client answered what the broker asked
    ANNOUNCED                    worker's epoch  nothing: all whom it serves have been announced
    CLOSED                       connection      nothing
    ASK                          serial          a question (JSON)

    down: conductor -> worker    tag             payload
    ---------------------------  --------------  ------------------------------------------------
    WELCOME                      worker's epoch  nothing: what follows is for that life of the worker
    UPDATE                       0               a replica update
    COMPLETE                     0               nothing: the tables are whole, serve
    ANSWER                       serial          frame: the response to a REQUEST
    NO_ANSWER                    serial          nothing: that REQUEST gets none
    ANSWERED                     serial          code and remark: the answer to an ASK
    PUSH                         connection      frame: a request of the broker's own
    CLOSE                        connection      the reason
    TRIMMED                      position        nothing: files of what lies below it, or of its queues, are gone
    RESTARTED                    0               nothing: "I am new, announce everybody, ask again"

A letter longer than a part of the ring goes in FRAGMENTs, whose payloads come before the letter's own. What
finds the ring full waits in the sender's memory, in order. A sender that dies amid fragments leaves them to
be thrown away at its successor's first letter, HELLO or RESTARTED.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shmq.broker.outcome import Peer
from shmq.ring import spsc
from shmq.ring.doorbell import ring_bell
from shmq.store.host import Host
from shmq.wire.frame import Frame


class Kind(IntEnum):
    """What a letter is."""

    FRAGMENT = 1
    HELLO = 2
    REQUEST = 3
    ANNOUNCE = 4
    RESPONSE = 5
    CLOSED = 6
    ASK = 7
    ANNOUNCED = 8
    WELCOME = 16
    UPDATE = 17
    COMPLETE = 18
    ANSWER = 19
    NO_ANSWER = 20
    ANSWERED = 21
    PUSH = 22
    CLOSE = 23
    RESTARTED = 24
    TRIMMED = 25


_FIRST_OF_A_LIFE: Final = frozenset({Kind.HELLO, Kind.RESTARTED})
_PART_OF_RING: Final = 8
FULL_RING_WAIT_MS: Final = 1
"""So long who has something for a full ring sleeps at most: no bell is rung when there is room again."""


class Letter(NamedTuple):
    """A letter as received; its payload is the receiver's own copy."""

    kind: int
    tag: int
    payload: bytes


class Outbox:
    """The sending end of a ring of letters."""

    def __init__(
        self,
        memory: NDArray[np.uint8],
        ring_at: int,
        capacity_bytes: int,
        bell: int,
        *,
        ring: Callable[[int], None] = ring_bell,
    ) -> None:
        """Take the ring at an address in `memory`, whose receiver sleeps on `bell` and is woken by `ring`."""
        self._view = memory.data
        self._base = int(memory.ctypes.data)
        self._ring = ring_at
        self._capacity_bytes = capacity_bytes
        self._bell = bell
        self._wake = ring
        self._part_bytes = capacity_bytes // _PART_OF_RING
        self._backlog: deque[tuple[int, int, bytes]] = deque()
        self._has_news = False

    @property
    def backlog(self) -> int:
        """How many letters wait for room."""
        return len(self._backlog)

    def post(self, kind: Kind, tag: int, pieces: Sequence[bytes | memoryview] = ()) -> None:
        """Send a letter, now or as soon as there is room; `flush` rings the bell."""
        size_bytes = sum(map(len, pieces))
        if size_bytes <= self._part_bytes:
            if self._backlog or not self._offer(kind, tag, pieces, size_bytes):
                self._backlog.append((kind, tag, b"".join(pieces)))
            return
        whole = b"".join(pieces)
        last_at = (size_bytes - 1) // self._part_bytes * self._part_bytes
        for at in range(0, last_at, self._part_bytes):
            self._backlog.append((Kind.FRAGMENT, tag, whole[at : at + self._part_bytes]))
        self._backlog.append((kind, tag, whole[last_at:]))
        self._move_backlog()

    def flush(self) -> None:
        """Send what there is room for, and wake the receiver if it has something to read."""
        self._move_backlog()
        if self._has_news:
            self._has_news = False
            self._wake(self._bell)

    def forget(self) -> None:
        """Drop what waits: it was meant for a process that is gone."""
        self._backlog.clear()

    def _move_backlog(self) -> None:
        while self._backlog:
            kind, tag, payload = self._backlog[0]
            if not self._offer(kind, tag, (payload,), len(payload)):
                return
            self._backlog.popleft()

    def _offer(self, kind: int, tag: int, pieces: Sequence[bytes | memoryview], size_bytes: int) -> bool:
        produced = spsc.produced_position(self._ring)
        position = spsc.claim_within(self._ring, self._capacity_bytes, produced, size_bytes)
        if position < 0:
            return False
        payload = spsc.payload_within(self._ring, self._capacity_bytes, position)
        at = payload - self._base
        for piece in pieces:
            self._view[at : at + len(piece)] = piece
            at += len(piece)
        spsc.publish(self._ring, spsc.fill_head_at(payload, position, size_bytes, kind, tag))
        self._has_news = True
        return True


class Inbox:
    """The receiving end of a ring of letters."""

    def __init__(self, memory: NDArray[np.uint8], ring: int, capacity_bytes: int | None = None) -> None:
        """Take the ring at an address in `memory`; without its capacity the one that it was made with."""
        self._view = memory.data
        self._base = int(memory.ctypes.data)
        self._ring = ring
        self._capacity_bytes = spsc.capacity_of(ring) if capacity_bytes is None else capacity_bytes
        self._parts: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return spsc.is_empty(self._ring)

    def letters(self, count_max: int) -> Iterator[Letter]:
        """Take letters out, oldest first; room is given back as each is copied."""
        for _ in range(count_max):
            found = spsc.peek_within(self._ring, self._capacity_bytes, spsc.consumed_position(self._ring))
            if found.position < 0:
                return
            at = found.address - self._base
            payload = bytes(self._view[at : at + found.size_bytes])
            spsc.give_back(self._ring, found.position + spsc.space_of(found.size_bytes))
            if found.kind == Kind.FRAGMENT:
                self._parts.append(payload)
                continue
            if self._parts:
                if found.kind not in _FIRST_OF_A_LIFE:
                    payload = b"".join((*self._parts, payload))
                self._parts.clear()
            yield Letter(found.kind, found.tag, payload)

    def skip_all(self) -> None:
        """Throw away what waits: it was meant for another life of this process."""
        self._parts.clear()
        spsc.give_back(self._ring, spsc.produced_position(self._ring))


_ENVELOPE: Final = struct.Struct("<qBBiiIB")


def pack_request(connection: int, peer: Peer, frame: Frame) -> list[bytes | memoryview]:
    """A client's request for the conductor: who sent it, and its frame as it came."""
    head = _ENVELOPE.pack(
        connection,
        len(peer.host.address),
        len(peer.advertised.address),
        peer.host.port,
        peer.advertised.port,
        frame.encoding_word,
        peer.is_vip,
    )
    return [head, peer.host.address, peer.advertised.address, frame.header, frame.body]


def unpack_request(payload: bytes) -> tuple[int, Peer, Frame]:
    """Read `pack_request` back: connection, peer, frame."""
    connection, host_bytes, own_bytes, host_port, own_port, word, is_vip = _ENVELOPE.unpack_from(payload)
    at = _ENVELOPE.size
    host = Host(payload[at : at + host_bytes], host_port)
    at += host_bytes
    advertised = Host(payload[at : at + own_bytes], own_port)
    at += own_bytes
    header_end = at + (word & 0xFFFFFF)
    return (
        connection,
        Peer(host, advertised, bool(is_vip)),
        Frame(word, payload[at:header_end], payload[header_end:]),
    )


def pack_frame(frame: Frame) -> list[bytes | memoryview]:
    """A frame alone."""
    return [struct.pack("<I", frame.encoding_word), frame.header, frame.body]


def unpack_frame(payload: bytes) -> Frame:
    """Read `pack_frame` back."""
    (word,) = struct.unpack_from("<I", payload)
    header_end = 4 + (word & 0xFFFFFF)
    return Frame(word, payload[4:header_end], payload[header_end:])
