"""A consumer that has fallen behind: PULL_MESSAGE from offset 0 of each queue to its end, several at a time.

Every connection has so many pulls in flight, each for a stretch of 32 messages of its own; a stretch of which an
answer brings only the beginning is asked for again from there. The records of every answer are walked: each must
begin with the size and the magic of a message, and their queue offsets must go on from the one that was asked for
without a gap. So what is counted was there, once, and whole.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from perf.histogram import BUCKETS, Histogram, record
from perf.libc import now_ns
from perf.load import lanes as w
from perf.load.answers import GARBLED, HINT_WORDS, REFUSED, body_at, code_of, explain, frame_bytes, opaque_of
from perf.load.forms import TAG_BASE, put_digits
from perf.load.lanes import Lanes, fill_input, flush, make_room
from perf.load.net import NOT_NOW, SCRATCH_BYTES, WRITABLE, ready_for, ready_row, wait
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_i32, load_i64, store_i32
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, encode

MESSAGES_A_PULL: Final = 32
INPUT_BYTES: Final = 1 << 21
NS: Final = 1_000_000_000

GAP: Final = -400_000
"""An offset that is not the next one, or no record where one should begin."""

_OUTPUT_BYTES: Final = 1 << 18
_SILENCE_MS: Final = 30_000
_TIMED_OUT: Final = -100_001
_UNKNOWN_TAG: Final = -100_002
_EMPTY_HANDED_MAX: Final = 1_000_000
_WORDS_FOR: Final = {
    GAP: "the messages of an answer are not those that were asked for",
    _TIMED_OUT: "no answer for 30 s",
    _UNKNOWN_TAG: "an answer to nothing that was asked",
    w.CLOSED: "the peer closed the connection",
}
_NOT_FOUND: Final = int(ResponseCode.PULL_NOT_FOUND)
_RETRY: Final = int(ResponseCode.PULL_RETRY_IMMEDIATELY)
_MAGIC: Final = 0xDAA320A7 - (1 << 32)
_MAGIC_AT: Final = 4
_QUEUE_OFFSET_AT: Final = 20
_RECORD_BYTES_MIN: Final = 91
_OFFSET: Final = "@"
_SUBSCRIPTION_COMES_ALONG: Final = 4
_TAG_DIGITS: Final = 10
_DIGITS_MAX: Final = 19

# words of the plan
_EPOLL: Final = 0
_LANES: Final = 1
_WINDOW: Final = 2
_QUEUES: Final = 3
_MESSAGES: Final = 4
_PULLS: Final = 5
_BYTES: Final = 6
_BEGIN_NS: Final = 7
_END_NS: Final = 8
_OUTSTANDING: Final = 9
_EMPTY_HANDED: Final = 10
_PLAN_WORDS: Final = 16

# words of a queue: the two parts of its request, and how far stretches were given out
_HEAD: Final = 0
_HEAD_BYTES: Final = 1
_TAIL: Final = 2
_TAIL_BYTES: Final = 3
_TAG_AT: Final = 4
_NEXT: Final = 5
_END: Final = 6
_QUEUE_WORDS: Final = 8

# words of a slot
_TAG: Final = 0
_SENT_NS: Final = 1
_QUEUE: Final = 2
_AT: Final = 3
_STRETCH_END: Final = 4
_SLOT_WORDS: Final = 8


class Reading(NamedTuple):
    """All that the kernels use."""

    plan: Words
    lanes: Words
    slots: Words
    queues: Words
    hints: Words
    counts: Words
    scratch: Bytes


@dataclass(frozen=True)
class Pulled:
    """What a run gave.

    Attributes:
        messages: read.
        pulls: answered with messages.
        bytes: of records.
        seconds: from the first request to the last answer.
        cpu_seconds: of the load's own process.
        latencies: from each pull to its answer.
    """

    messages: int
    pulls: int
    bytes: int
    seconds: float
    cpu_seconds: float
    latencies: Histogram


def catch_up(lanes: Lanes, topic: str, ends: Sequence[int], *, window: int) -> Pulled:
    """Read queues 0, 1, ... of a topic from offset 0 to their ends."""
    parts = [_request(topic, queue_id) for queue_id in range(len(ends))]
    texts = [np.frombuffer(head + tail, dtype=np.uint8).copy() for head, tail in parts]
    queues = np.zeros((len(ends), _QUEUE_WORDS), dtype=np.int64)
    for row, text, (head, tail), end in zip(queues, texts, parts, ends, strict=True):
        row[_HEAD], row[_HEAD_BYTES] = text.ctypes.data, len(head)
        row[_TAIL], row[_TAIL_BYTES] = text.ctypes.data + len(head), len(tail)
        row[_TAG_AT] = tail.index(str(TAG_BASE).encode())
        row[_END] = end
    plan = np.zeros(_PLAN_WORDS, dtype=np.int64)
    plan[_EPOLL] = lanes.epoll.fileno()
    plan[_LANES], plan[_WINDOW], plan[_QUEUES] = len(lanes.sockets), window, len(ends)
    reading = Reading(
        plan,
        lanes.rows,
        np.zeros(len(lanes.sockets) * window * _SLOT_WORDS, dtype=np.int64),
        queues.reshape(-1),
        np.zeros(HINT_WORDS, dtype=np.int64),
        np.zeros(BUCKETS, dtype=np.int64),
        np.zeros(SCRATCH_BYTES, dtype=np.uint8),
    )
    cpu_begin = time.process_time()
    status = _run(reading)
    if status < 0:
        raise AssertionError(f"{_WORDS_FOR.get(status) or explain(status)}, after {plan[_MESSAGES]} messages")
    assert plan[_MESSAGES] == sum(ends), "every stretch was read once"
    return Pulled(
        messages=int(plan[_MESSAGES]),
        pulls=int(plan[_PULLS]),
        bytes=int(plan[_BYTES]),
        seconds=int(plan[_END_NS] - plan[_BEGIN_NS]) / NS,
        cpu_seconds=time.process_time() - cpu_begin,
        latencies=Histogram(reading.counts),
    )


def reading_lanes(address: str, connections: int) -> Lanes:
    """Connections with the buffers that pulls want."""
    return Lanes(address, connections, input_bytes=INPUT_BYTES, output_bytes=_OUTPUT_BYTES)


@kernel
def walk(body: int, size_bytes: int, offset: int) -> int:
    """Count the messages of an answer, whose queue offsets must go on from one; GAP where they do not."""
    at = 0
    messages = 0
    while at < size_bytes:
        if size_bytes - at < _RECORD_BYTES_MIN:
            return GAP
        record_bytes = load_i32(body + at)
        if (
            not _RECORD_BYTES_MIN <= record_bytes <= size_bytes - at
            or load_i32(body + at + _MAGIC_AT) != _MAGIC
        ):
            return GAP
        if load_i64(body + at + _QUEUE_OFFSET_AT) != offset + messages:
            return GAP
        at += record_bytes
        messages += 1
    return messages


@kernel
def put_pull(lanes: Words, lane_at: int, queue: Words, offset: int, tag: int) -> int:
    """Add a pull of a queue to a lane's output; 0, or a failure."""
    digits = 1
    rest = offset // 10
    while rest:
        digits += 1
        rest //= 10
    size = queue[_HEAD_BYTES] + digits + queue[_TAIL_BYTES]
    target = make_room(lanes, lane_at, size, _OUTPUT_BYTES)
    if target == 0:
        return GARBLED
    copy(target, queue[_HEAD], queue[_HEAD_BYTES])
    put_digits(target + queue[_HEAD_BYTES], offset, digits)
    tail = target + queue[_HEAD_BYTES] + digits
    copy(tail, queue[_TAIL], queue[_TAIL_BYTES])
    put_digits(tail + queue[_TAG_AT], tag, _TAG_DIGITS)
    store_i32(target, size - 4)
    store_i32(target + 4, size - 8)  # JSON, and no body
    return 0


@kernel
def _run(reading: Reading) -> int:
    plan, scratch = reading.plan, address_of(reading.scratch)
    plan[_BEGIN_NS] = now_ns(scratch)
    for lane in range(plan[_LANES]):
        for place in range(plan[_WINDOW]):
            status = _ask_for_more(reading, lane, place)
            if status < 0:
                return status
        status = flush(reading.lanes, lane * w.WORDS, plan[_EPOLL], scratch)
        if status < 0:
            return status
    while plan[_OUTSTANDING] > 0:
        ready = wait(plan[_EPOLL], scratch, _SILENCE_MS)
        if ready == 0:
            return _TIMED_OUT
        for index in range(ready):
            lane = ready_row(scratch, index)
            status = 0
            if ready_for(scratch, index) & ~WRITABLE:
                status = _take(reading, lane)
            if status >= 0:
                status = flush(reading.lanes, lane * w.WORDS, plan[_EPOLL], scratch)
            if status < 0:
                return status
    plan[_END_NS] = now_ns(scratch)
    return 0


@kernel
def _ask_for_more(reading: Reading, lane: int, place: int) -> int:
    """Give a slot the next stretch of some queue, its lane's own queue before others; 0, or a failure."""
    plan = reading.plan
    for step in range(plan[_QUEUES]):
        queue = (lane + step) % plan[_QUEUES]
        at = queue * _QUEUE_WORDS
        if reading.queues[at + _NEXT] < reading.queues[at + _END]:
            begin = reading.queues[at + _NEXT]
            end = min(begin + MESSAGES_A_PULL, reading.queues[at + _END])
            reading.queues[at + _NEXT] = end
            slot = (lane * plan[_WINDOW] + place) * _SLOT_WORDS
            reading.slots[slot + _QUEUE] = queue
            reading.slots[slot + _AT] = begin
            reading.slots[slot + _STRETCH_END] = end
            plan[_OUTSTANDING] += 1
            return _ask(reading, lane, place)
    return 0


@kernel
def _ask(reading: Reading, lane: int, place: int) -> int:
    slot = (lane * reading.plan[_WINDOW] + place) * _SLOT_WORDS
    at = reading.slots[slot + _QUEUE] * _QUEUE_WORDS
    tag = TAG_BASE + place
    reading.slots[slot + _TAG] = tag
    reading.slots[slot + _SENT_NS] = now_ns(address_of(reading.scratch))
    queue = reading.queues[at : at + _QUEUE_WORDS]
    return put_pull(reading.lanes, lane * w.WORDS, queue, reading.slots[slot + _AT], tag)


@kernel
def _take(reading: Reading, lane: int) -> int:
    """Receive once and take the answers that are whole; 0, or a failure."""
    lanes, at = reading.lanes, lane * w.WORDS
    got = fill_input(lanes, at, INPUT_BYTES)
    if got == NOT_NOW:
        return 0
    if got < 0:
        return got
    while lanes[at + w.INPUT_BEGIN] < lanes[at + w.INPUT_END]:
        begin = lanes[at + w.INPUT_BEGIN]
        whole = frame_bytes(lanes[at + w.INPUT] + begin, lanes[at + w.INPUT_END] - begin)
        if whole < 0:
            return whole
        if whole == 0:
            break
        lanes[at + w.INPUT_BEGIN] = begin + whole
        status = _take_answer(reading, lane, lanes[at + w.INPUT] + begin, whole)
        if status < 0:
            return status
    return 0


@kernel
def _take_answer(reading: Reading, lane: int, frame: int, whole: int) -> int:
    plan, slots = reading.plan, reading.slots
    opaque, code = opaque_of(frame, reading.hints), code_of(frame, reading.hints)
    place = opaque - TAG_BASE
    slot = (lane * plan[_WINDOW] + place) * _SLOT_WORDS
    if not 0 <= place < plan[_WINDOW] or slots[slot + _TAG] != opaque:
        return _UNKNOWN_TAG
    slots[slot + _TAG] = 0
    if code in (_NOT_FOUND, _RETRY):
        plan[_EMPTY_HANDED] += 1
        return _ask(reading, lane, place) if plan[_EMPTY_HANDED] < _EMPTY_HANDED_MAX else _TIMED_OUT
    if code != 0:
        return REFUSED - code
    body = body_at(frame)
    messages = walk(body, frame + whole - body, slots[slot + _AT])
    if messages <= 0 or slots[slot + _AT] + messages > slots[slot + _STRETCH_END]:
        return GAP
    record(reading.counts, now_ns(address_of(reading.scratch)) - slots[slot + _SENT_NS])
    slots[slot + _AT] += messages
    plan[_MESSAGES] += messages
    plan[_PULLS] += 1
    plan[_BYTES] += frame + whole - body
    if slots[slot + _AT] < slots[slot + _STRETCH_END]:
        return _ask(reading, lane, place)
    plan[_OUTSTANDING] -= 1
    return _ask_for_more(reading, lane, place)


def _request(topic: str, queue_id: int) -> tuple[bytes, bytes]:
    """What comes before the offset, and what after; the sizes in front are the kernel's."""
    return pull_parts(topic, queue_id, suspend_ms=0, messages=MESSAGES_A_PULL)


def pull_parts(topic: str, queue_id: int, *, suspend_ms: int, messages: int) -> tuple[bytes, bytes]:
    """A pull as Java's client writes it, cut where its offset goes."""
    fields = {
        "consumerGroup": "perf-consumer",
        "topic": topic,
        "queueId": str(queue_id),
        "queueOffset": _OFFSET,
        "maxMsgNums": str(messages),
        "sysFlag": str(_SUBSCRIPTION_COMES_ALONG | (2 if suspend_ms else 0)),
        "commitOffset": "0",
        "suspendTimeoutMillis": str(suspend_ms),
        "subscription": "*",
        "subVersion": "0",
        "expressionType": "TAG",
    }
    frame = encode(Command(RequestCode.PULL_MESSAGE, TAG_BASE, fields=fields))
    head, _, tail = frame.partition(_OFFSET.encode())
    return head, tail
