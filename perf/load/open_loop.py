"""An open loop: sends when the plan says, whatever was answered, and consumers that wait for what was sent.

Message k is due at begin + k / rate. Its latencies count from there: to its answer, and to the moment when a consumer
that long-polls its queue holds its bytes, for which the body begins with the due time. So a broker that stalls pays
for every message that was due meanwhile (no coordinated omission), and so does the load's own lateness, which is
told beside. Every message must be answered once, and received once in the order of its queue; only a
broker that says it is too busy (SYSTEM_BUSY) may refuse one, which is counted.

One thread is both ends: no clock has to be compared with another's. It sleeps until shortly before the next message
is due and then polls, so above some 15,000 messages a second it never sleeps.
"""

import ctypes
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from perf.histogram import BUCKETS, Histogram, record
from perf.libc import now_ns
from perf.load import forms as f
from perf.load import lanes as w
from perf.load.answers import (
    HINT_WORDS,
    REFUSED,
    body_at,
    code_of,
    explain,
    frame_bytes,
    opaque_of,
    read_remoting,
)
from perf.load.catch_up import GAP, INPUT_BYTES, pull_parts, put_pull
from perf.load.forms import TAG_BASE, FormTable, Shape, fill_form, remoting_forms, write_form
from perf.load.greetings import ends_of
from perf.load.lanes import Lanes, fill_input, flush, make_room
from perf.load.net import NOT_NOW, SCRATCH_BYTES, WRITABLE, ready_for, ready_row, wait, wait_ns
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_i32, load_i64, store_i64
from shmq.wire.codes import ResponseCode

POLL_BEFORE_NS: Final = 60_000
"""So long before a message is due the load stops sleeping: waking up takes some 25 µs on a virtual machine."""
STAMP_BYTES: Final = 8
NS: Final = 1_000_000_000

_SEND_OUTPUT_BYTES: Final = 1 << 26
_SUSPEND_MS: Final = 15_000
_MESSAGES_A_PULL: Final = 32
_LEAD_NS: Final = 20_000_000
_SILENCE_NS: Final = 30 * NS
_TIMED_OUT: Final = -100_001
_UNKNOWN_TAG: Final = -100_002
_WORDS_FOR: Final = {
    GAP: "a message was received out of its queue's order, or was none",
    _TIMED_OUT: "no answer for 30 s",
    _UNKNOWN_TAG: "an answer to nothing that was asked, or a second one",
    w.CLOSED: "the peer closed the connection",
}
_TOO_BUSY: Final = REFUSED - int(ResponseCode.SYSTEM_BUSY)
_NOT_FOUND: Final = int(ResponseCode.PULL_NOT_FOUND)
_RETRY: Final = int(ResponseCode.PULL_RETRY_IMMEDIATELY)
_QUEUE_OFFSET_AT: Final = 20
_BODY_AT: Final = 88  # of a record whose hosts are IPv4
_RECORD_BYTES_MIN: Final = 91
_PR_SET_TIMERSLACK: Final = 29

# words of the plan
_EPOLL: Final = 0
_SENDERS: Final = 1
_CONSUMERS: Final = 2
_TOTAL: Final = 3
_RATE: Final = 4
_BODY_BYTES: Final = 5
_ISSUED: Final = 6
_ANSWERED: Final = 7
_RECEIVED: Final = 8
_PULLS: Final = 9
_BEGIN_NS: Final = 10
_END_NS: Final = 11
_KEY: Final = 12
_QUEUES: Final = 13
_REFUSED: Final = 14
_PLAN_WORDS: Final = 16

# words of a queue, as `put_pull` wants them, then the offset that is next
_NEXT: Final = 5
_QUEUE_WORDS: Final = 8


class Pace(NamedTuple):
    """All that the kernels use; senders' lanes come first, then one consumer's for each queue."""

    plan: Words
    lanes: Words
    queues: Words
    forms: Words
    keys_at: Words
    texts: Bytes
    hints: Words
    seen: Bytes
    answered: Words
    received: Words
    late: Words
    scratch: Bytes


@dataclass(frozen=True)
class Paced:
    """What a run gave.

    Attributes:
        messages: stored and received.
        refused: because the broker was too busy.
        pulls: answered with messages.
        seconds: from the first due time to the last receipt.
        cpu_seconds: of the load's own process.
        answered: from each due time to the answer.
        received: from each due time to the receipt.
        late: from each due time to the send.
    """

    messages: int
    refused: int
    pulls: int
    seconds: float
    cpu_seconds: float
    answered: Histogram
    received: Histogram
    late: Histogram


def pace(  # noqa: PLR0913 - what a plan says
    address: str, topic: str, *, queues: int, rate: int, messages: int, body_bytes: int, is_consumed: bool
) -> Paced:
    """Send so many messages a second to the queues in turn, one connection each; consume them on as many."""
    assert body_bytes >= STAMP_BYTES
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # a sleep ends when it should
    table = FormTable.of(remoting_forms([topic], queues, Shape(body_bytes)))
    consumers = queues if is_consumed else 0
    lanes = Lanes(address, queues + consumers, input_bytes=INPUT_BYTES, output_bytes=_SEND_OUTPUT_BYTES)
    lanes.listen()
    begins = ends_of(address, topic, queues) if is_consumed else [0] * queues
    rows = np.zeros((queues, _QUEUE_WORDS), dtype=np.int64)
    texts = []
    for queue_id, (row, begin) in enumerate(zip(rows, begins, strict=True)):
        head, tail = pull_parts(topic, queue_id, suspend_ms=_SUSPEND_MS, messages=_MESSAGES_A_PULL)
        texts.append(np.frombuffer(head + tail, dtype=np.uint8).copy())
        start = texts[-1].ctypes.data
        row[:6] = (start, len(head), start + len(head), len(tail), tail.index(str(TAG_BASE).encode()), begin)
    plan = np.zeros(_PLAN_WORDS, dtype=np.int64)
    plan[_EPOLL] = lanes.epoll.fileno()
    plan[_SENDERS], plan[_CONSUMERS], plan[_QUEUES] = queues, consumers, queues
    plan[_TOTAL], plan[_RATE], plan[_BODY_BYTES] = messages, rate, body_bytes
    plan[_KEY] = time.time_ns()
    counts = [np.zeros(BUCKETS, dtype=np.int64) for _ in range(3)]
    run = Pace(
        plan,
        lanes.rows,
        rows.reshape(-1),
        table.rows,
        table.keys_at,
        table.texts,
        np.zeros(HINT_WORDS, dtype=np.int64),
        np.zeros(messages, dtype=np.uint8),
        counts[0],
        counts[1],
        counts[2],
        np.zeros(SCRATCH_BYTES, dtype=np.uint8),
    )
    cpu_begin = time.process_time()
    status = _run(run)
    if status < 0:
        raise AssertionError(f"{_WORDS_FOR.get(status) or explain(status)}, after {plan[_ANSWERED]} answers")
    lanes.close()
    return Paced(
        messages=int(plan[_ANSWERED] - plan[_REFUSED]),
        refused=int(plan[_REFUSED]),
        pulls=int(plan[_PULLS]),
        seconds=int(plan[_END_NS] - plan[_BEGIN_NS]) / NS,
        cpu_seconds=time.process_time() - cpu_begin,
        answered=Histogram(counts[0]),
        received=Histogram(counts[1]),
        late=Histogram(counts[2]),
    )


@kernel
def _due_ns(plan: Words, number: int) -> int:
    rate = plan[_RATE]
    return int(plan[_BEGIN_NS] + number // rate * NS + number % rate * NS // rate)


@kernel
def _run(run: Pace) -> int:
    plan, scratch = run.plan, address_of(run.scratch)
    for queue in range(plan[_CONSUMERS]):
        status = _poll_queue(run, queue)
        if status < 0:
            return status
    plan[_BEGIN_NS] = now_ns(scratch) + _LEAD_NS
    moved_ns = plan[_BEGIN_NS]
    total = plan[_TOTAL]
    while plan[_ANSWERED] < total or (plan[_CONSUMERS] > 0 and plan[_RECEIVED] < total - plan[_REFUSED]):
        status = _send_what_is_due(run)
        if status < 0:
            return status
        ready = _wait(run, moved_ns + _SILENCE_NS)
        now = now_ns(scratch)
        for index in range(ready):
            lane = ready_row(scratch, index)
            status = 0
            if ready_for(scratch, index) & ~WRITABLE:
                status = _take(run, lane)
            if status >= 0:
                status = flush(run.lanes, lane * w.WORDS, plan[_EPOLL], scratch)
            if status < 0:
                return status
        if ready > 0:
            moved_ns = max(now, plan[_BEGIN_NS])
        elif now > moved_ns + _SILENCE_NS:
            return _TIMED_OUT
    plan[_END_NS] = now_ns(scratch)
    return 0


@kernel
def _wait(run: Pace, give_up_ns: int) -> int:
    """Sleep until a socket is ready or the next message is nearly due; return how many sockets are."""
    plan, scratch = run.plan, address_of(run.scratch)
    until = give_up_ns
    if plan[_ISSUED] < plan[_TOTAL]:
        until = _due_ns(plan, plan[_ISSUED]) - POLL_BEFORE_NS
    left = until - now_ns(scratch)
    return wait_ns(plan[_EPOLL], scratch, left) if left > 0 else wait(plan[_EPOLL], scratch, 0)


@kernel
def _send_what_is_due(run: Pace) -> int:
    plan, scratch = run.plan, address_of(run.scratch)
    now = now_ns(scratch)
    first = plan[_ISSUED]
    while plan[_ISSUED] < plan[_TOTAL]:
        number = plan[_ISSUED]
        due = _due_ns(plan, number)
        if due > now:
            break
        queue = number % plan[_QUEUES]
        row = queue * f.WORDS
        target = make_room(run.lanes, queue * w.WORDS, run.forms[row + f.SIZE], _SEND_OUTPUT_BYTES)
        if target == 0:
            break  # the broker stands still: later, and later than planned
        write_form(target, run.texts, run.forms, row)
        plan[_KEY] = fill_form(target, run.forms, run.keys_at, row, TAG_BASE + number, plan[_KEY])
        store_i64(target + run.forms[row + f.SIZE] - plan[_BODY_BYTES], due)
        record(run.late, now - due)
        plan[_ISSUED] = number + 1
    for lane in range(min(plan[_ISSUED] - first, plan[_QUEUES])):
        status = flush(run.lanes, (first + lane) % plan[_QUEUES] * w.WORDS, plan[_EPOLL], scratch)
        if status < 0:
            return status
    return 0


@kernel
def _poll_queue(run: Pace, queue: int) -> int:
    at = (run.plan[_SENDERS] + queue) * w.WORDS
    row = run.queues[queue * _QUEUE_WORDS : (queue + 1) * _QUEUE_WORDS]
    status = put_pull(run.lanes, at, row, row[_NEXT], TAG_BASE)
    return status if status < 0 else flush(run.lanes, at, run.plan[_EPOLL], address_of(run.scratch))


@kernel
def _take(run: Pace, lane: int) -> int:
    """Receive once and take the answers that are whole; 0, or a failure."""
    lanes, at = run.lanes, lane * w.WORDS
    got = fill_input(lanes, at, INPUT_BYTES)
    if got == NOT_NOW:
        return 0
    if got < 0:
        return got
    now = now_ns(address_of(run.scratch))
    while lanes[at + w.INPUT_BEGIN] < lanes[at + w.INPUT_END]:
        begin = lanes[at + w.INPUT_BEGIN]
        held = lanes[at + w.INPUT_END] - begin
        whole = frame_bytes(lanes[at + w.INPUT] + begin, held)
        if whole <= 0:
            return whole
        lanes[at + w.INPUT_BEGIN] = begin + whole
        if lane < run.plan[_SENDERS]:
            status = _take_answer(run, lanes[at + w.INPUT] + begin, whole, now)
        else:
            status = _take_messages(run, lane - run.plan[_SENDERS], lanes[at + w.INPUT] + begin, whole)
        if status < 0:
            return status
    return 0


@kernel
def _take_answer(run: Pace, frame: int, whole: int, now: int) -> int:
    used, tag = read_remoting(frame, whole, run.hints)
    if used < 0 and used != _TOO_BUSY:
        return used
    number = tag - TAG_BASE
    if not 0 <= number < run.plan[_ISSUED] or run.seen[number]:
        return _UNKNOWN_TAG
    run.seen[number] = 1
    run.plan[_ANSWERED] += 1
    if used == _TOO_BUSY:
        run.plan[_REFUSED] += 1
    else:
        record(run.answered, now - _due_ns(run.plan, number))
    return 0


@kernel
def _take_messages(run: Pace, queue: int, frame: int, whole: int) -> int:
    """Take what a long poll brought, and poll again."""
    now = now_ns(address_of(run.scratch))
    code = code_of(frame, run.hints)
    if code == 0:
        at, end = body_at(frame), frame + whole
        next_at = queue * _QUEUE_WORDS + _NEXT
        while at < end:
            size = load_i32(at)
            if not _RECORD_BYTES_MIN <= size <= end - at:
                return GAP
            if load_i64(at + _QUEUE_OFFSET_AT) != run.queues[next_at]:
                return GAP
            record(run.received, now - load_i64(at + _BODY_AT))
            run.queues[next_at] += 1
            run.plan[_RECEIVED] += 1
            at += size
        run.plan[_PULLS] += 1
    elif code not in (_NOT_FOUND, _RETRY):
        return REFUSED - code
    if opaque_of(frame, run.hints) != TAG_BASE:
        return _UNKNOWN_TAG
    return _poll_queue(run, queue)
