"""A closed loop: so many requests in flight on each connection, a new one for each that is answered.

It measures what a server can take; a slow answer delays the next request, so its latencies say nothing about a load
that does not wait. Every answer is paired with its request by tag (or by order, where the protocol has no tag), and
an answer that is no success, or answers nothing, ends the run.

A request is written into its connection's output buffer and sent with all others of the same turn. Where forms are
large each slot's request lies ready in a place of its own instead, is sent from there, and only its own bytes are
written anew: the load copies nothing that the kernel does not.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from perf.histogram import BUCKETS, Histogram, record
from perf.libc import now_ns
from perf.load import forms as f
from perf.load import lanes as w
from perf.load.answers import (
    HINT_WORDS,
    NATS,
    REMOTING,
    SKIP,
    explain,
    read_nats,
    read_remoting,
    read_resp,
)
from perf.load.forms import LANE_DIGITS, TAG_BASE, Form, FormTable, fill_form, put_digits, write_form
from perf.load.lanes import Lanes, fill_input, flush, make_room
from perf.load.net import NOT_NOW, READABLE, SCRATCH_BYTES, WRITABLE, give, ready_for, ready_row, wait, watch
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of

IN_PLACE_FROM_BYTES: Final = 8192
"""Forms of this size and above are sent from a place of their own."""
WINDOW_MAX: Final = 4096
INPUT_BYTES: Final = 1 << 18
NS: Final = 1_000_000_000

_SILENCE_MS: Final = 30_000
_GENERATIONS: Final = 240_000

# words of the plan
_EPOLL: Final = 0
_LANES: Final = 1
_WINDOW: Final = 2
_PROTOCOL: Final = 3
_FORMS: Final = 4
_DURATION_NS: Final = 5
_REQUESTS_MAX: Final = 6
_INPUT_BYTES: Final = 7
_OUTPUT_BYTES: Final = 8
_IS_IN_PLACE: Final = 9
_STRIDE: Final = 10
_NEXT_FORM: Final = 11
_KEY: Final = 12
_ISSUED: Final = 13
_ANSWERED: Final = 14
_BEGIN_NS: Final = 15
_END_NS: Final = 16
_NOW_NS: Final = 17
_SENT_BYTES: Final = 18
_LANE: Final = 19
_PLAN_WORDS: Final = 32

# words of a slot
_TAG: Final = 0
_SENT_NS: Final = 1
_FORM: Final = 2
_QUEUED: Final = 3
"""The slot that is sent at this place of its lane's order; in place only."""
_SLOT_WORDS: Final = 4

_TIMED_OUT: Final = -100_001
_UNKNOWN_TAG: Final = -100_002
_NO_ROOM: Final = -100_003
_WORDS_FOR: Final = {
    _TIMED_OUT: "no answer for 30 s",
    _UNKNOWN_TAG: "an answer to nothing that was asked",
    _NO_ROOM: "the output buffer is too small",
    w.CLOSED: "the peer closed the connection",
}


class Load(NamedTuple):
    """All that the kernels use."""

    plan: Words
    lanes: Words
    slots: Words
    forms: Words
    keys_at: Words
    texts: Bytes
    hints: Words
    counts: Words
    scratch: Bytes


@dataclass(frozen=True)
class Sent:
    """What a run gave.

    Attributes:
        messages: acknowledged.
        requests: answered.
        bytes: of requests.
        seconds: from the first request to the last answer.
        cpu_seconds: of the load's own process.
        latencies: from each request to its answer.
    """

    messages: int
    requests: int
    bytes: int
    seconds: float
    cpu_seconds: float
    latencies: Histogram


class ClosedLoop:
    """Connections, and what is sent by them.

    Attributes:
        lanes: the connections, for whoever has to say hello before `listen`.
    """

    def __init__(
        self, address: str, connections: int, forms: Sequence[Form], *, window: int, protocol: int
    ) -> None:
        assert 0 < window <= WINDOW_MAX
        table = FormTable.of(forms)
        self.lanes = Lanes(
            address, connections, input_bytes=INPUT_BYTES, output_bytes=2 * window * table.bytes_max
        )
        self._messages = forms[0].messages
        plan = np.zeros(_PLAN_WORDS, dtype=np.int64)
        plan[_EPOLL] = self.lanes.epoll.fileno()
        plan[_LANES] = connections
        plan[_WINDOW] = window
        plan[_PROTOCOL] = protocol
        plan[_FORMS] = len(forms)
        plan[_INPUT_BYTES] = self.lanes.input_bytes
        plan[_OUTPUT_BYTES] = self.lanes.output_bytes
        plan[_IS_IN_PLACE] = table.bytes_max >= IN_PLACE_FROM_BYTES
        plan[_STRIDE] = table.bytes_max
        plan[_KEY] = time.time_ns()
        self._load = Load(
            plan,
            self.lanes.rows,
            np.zeros(connections * window * _SLOT_WORDS, dtype=np.int64),
            table.rows,
            table.keys_at,
            table.texts,
            np.zeros(HINT_WORDS, dtype=np.int64),
            np.zeros(BUCKETS, dtype=np.int64),
            np.zeros(SCRATCH_BYTES, dtype=np.uint8),
        )
        if plan[_IS_IN_PLACE]:
            _lay_out(self._load)

    def send(self, seconds: float, messages_max: int) -> Sent:
        """Send for a time, or so many messages if they come first, and wait for every answer."""
        plan = self._load.plan
        plan[_DURATION_NS] = int(seconds * NS)
        plan[_REQUESTS_MAX] = -(-messages_max // self._messages)
        plan[_ISSUED] = plan[_ANSWERED] = plan[_SENT_BYTES] = 0
        rows = self.lanes.rows.reshape(-1, w.WORDS)
        rows[:, w.ANSWERED] = rows[:, w.REQUESTED] = rows[:, w.QUEUED] = 0
        self._load.counts[:] = 0
        cpu_begin = time.process_time()
        status = _run(self._load)
        if status < 0:
            raise AssertionError(
                f"{_WORDS_FOR.get(status) or explain(status)}, after {plan[_ANSWERED]} answers; "
                f"it said {self.lanes.unread(int(plan[_LANE]))!r}"
            )
        return Sent(
            messages=int(plan[_ANSWERED]) * self._messages,
            requests=int(plan[_ANSWERED]),
            bytes=int(plan[_SENT_BYTES]),
            seconds=int(plan[_END_NS] - plan[_BEGIN_NS]) / NS,
            cpu_seconds=time.process_time() - cpu_begin,
            latencies=Histogram(self._load.counts.copy()),
        )


@kernel
def _lay_out(load: Load) -> None:
    """Put each slot's request into its place; slot and form stay together."""
    plan = load.plan
    for slot in range(plan[_LANES] * plan[_WINDOW]):
        lane, place = slot // plan[_WINDOW], slot % plan[_WINDOW]
        row = slot % plan[_FORMS] * f.WORDS
        load.slots[slot * _SLOT_WORDS + _FORM] = row
        write_form(load.lanes[lane * w.WORDS + w.OUTPUT] + place * plan[_STRIDE], load.texts, load.forms, row)


@kernel
def _run(load: Load) -> int:
    plan, scratch = load.plan, address_of(load.scratch)
    plan[_BEGIN_NS] = plan[_NOW_NS] = now_ns(scratch)
    for lane in range(plan[_LANES]):
        for place in range(plan[_WINDOW]):
            if plan[_ISSUED] < plan[_REQUESTS_MAX]:
                status = _issue(load, lane, place)
                if status < 0:
                    return status
        status = _flush(load, lane)
        if status < 0:
            return status
    while plan[_ANSWERED] < plan[_ISSUED]:
        ready = wait(plan[_EPOLL], scratch, _SILENCE_MS)
        if ready == 0:
            return _TIMED_OUT
        for index in range(ready):
            lane = ready_row(scratch, index)
            status = 0
            if ready_for(scratch, index) & ~WRITABLE:
                status = _take(load, lane)
            if status >= 0:
                status = _flush(load, lane)
            if status < 0:
                plan[_LANE] = lane
                return status
    plan[_END_NS] = now_ns(scratch)
    return 0


@kernel
def _issue(load: Load, lane: int, place: int) -> int:
    """Write the next request, for a slot; 0, or a failure."""
    plan, at = load.plan, lane * w.WORDS
    slot = (lane * plan[_WINDOW] + place) * _SLOT_WORDS
    if plan[_IS_IN_PLACE]:
        row = load.slots[slot + _FORM]
        target = load.lanes[at + w.OUTPUT] + place * plan[_STRIDE]
        order = load.lanes[at + w.QUEUED] % plan[_WINDOW]
        load.slots[(lane * plan[_WINDOW] + order) * _SLOT_WORDS + _QUEUED] = place
        load.lanes[at + w.QUEUED] += 1
    else:
        row = plan[_NEXT_FORM]
        plan[_NEXT_FORM] = row + f.WORDS if row + f.WORDS < plan[_FORMS] * f.WORDS else 0
        target = make_room(load.lanes, at, load.forms[row + f.SIZE], plan[_OUTPUT_BYTES])
        if target == 0:
            return _NO_ROOM
        write_form(target, load.texts, load.forms, row)
    previous = load.slots[slot + _TAG]
    generation = 0 if previous == 0 else ((-previous - TAG_BASE) // WINDOW_MAX + 1) % _GENERATIONS
    tag = TAG_BASE + generation * WINDOW_MAX + place
    plan[_KEY] = fill_form(target, load.forms, load.keys_at, row, tag, plan[_KEY])
    if load.forms[row + f.LANE_AT] >= 0:
        put_digits(target + load.forms[row + f.LANE_AT], lane, LANE_DIGITS)
    load.slots[slot + _TAG] = tag
    load.slots[slot + _SENT_NS] = plan[_NOW_NS]
    plan[_ISSUED] += 1
    plan[_SENT_BYTES] += load.forms[row + f.SIZE]
    return 0


@kernel
def _take(load: Load, lane: int) -> int:
    """Receive once, count the answers that are whole, and issue as many requests; 0, or a failure."""
    plan, lanes, at = load.plan, load.lanes, lane * w.WORDS
    got = fill_input(lanes, at, plan[_INPUT_BYTES])
    if got == NOT_NOW:
        return 0
    if got < 0:
        return got
    now = now_ns(address_of(load.scratch))
    plan[_NOW_NS] = now
    is_over = now - plan[_BEGIN_NS] >= plan[_DURATION_NS]
    while lanes[at + w.INPUT_BEGIN] < lanes[at + w.INPUT_END]:
        begin = lanes[at + w.INPUT_BEGIN]
        used, tag = _read(load, lanes[at + w.INPUT] + begin, lanes[at + w.INPUT_END] - begin)
        if used < 0:
            return used
        if used == 0:
            break
        lanes[at + w.INPUT_BEGIN] = begin + used
        if tag <= SKIP:
            continue
        place = _place_of(load, lane, tag)
        if place < 0:
            return place
        slot = (lane * plan[_WINDOW] + place) * _SLOT_WORDS
        record(load.counts, now - load.slots[slot + _SENT_NS])
        load.slots[slot + _TAG] = -load.slots[slot + _TAG]  # free, and the generation is kept
        plan[_ANSWERED] += 1
        if not is_over and plan[_ISSUED] < plan[_REQUESTS_MAX]:
            status = _issue(load, lane, place)
            if status < 0:
                return status
    return 0


@kernel
def _read(load: Load, at: int, held_bytes: int) -> tuple[int, int]:
    protocol = load.plan[_PROTOCOL]
    if protocol == REMOTING:
        return read_remoting(at, held_bytes, load.hints)
    if protocol == NATS:
        return read_nats(at, held_bytes)
    return read_resp(at, held_bytes)


@kernel
def _place_of(load: Load, lane: int, tag: int) -> int:
    """Which slot an answer belongs to; a failure where it belongs to none."""
    window = load.plan[_WINDOW]
    if tag == 0:  # answers come in order
        place = load.lanes[lane * w.WORDS + w.ANSWERED] % window
        load.lanes[lane * w.WORDS + w.ANSWERED] += 1
        return int(place if load.slots[(lane * window + place) * _SLOT_WORDS + _TAG] > 0 else _UNKNOWN_TAG)
    place = (tag - TAG_BASE) % WINDOW_MAX
    if place >= window or load.slots[(lane * window + place) * _SLOT_WORDS + _TAG] != tag:
        return _UNKNOWN_TAG
    return int(place)


@kernel
def _flush(load: Load, lane: int) -> int:
    plan, scratch = load.plan, address_of(load.scratch)
    if plan[_IS_IN_PLACE]:
        return _flush_in_place(load, lane, scratch)
    return flush(load.lanes, lane * w.WORDS, plan[_EPOLL], scratch)


@kernel
def _flush_in_place(load: Load, lane: int, scratch: int) -> int:
    """Send requests from where they lie; `output_sent` is of the one that is being sent."""
    plan, lanes, at = load.plan, load.lanes, lane * w.WORDS
    while lanes[at + w.REQUESTED] < lanes[at + w.QUEUED]:
        order = lanes[at + w.REQUESTED] % plan[_WINDOW]
        place = load.slots[(lane * plan[_WINDOW] + order) * _SLOT_WORDS + _QUEUED]
        row = load.slots[(lane * plan[_WINDOW] + place) * _SLOT_WORDS + _FORM]
        sent = lanes[at + w.OUTPUT_SENT]
        start = lanes[at + w.OUTPUT] + place * plan[_STRIDE]
        gave = give(lanes[at + w.DESCRIPTOR], start + sent, load.forms[row + f.SIZE] - sent)
        if gave == NOT_NOW:
            if not lanes[at + w.IS_BLOCKED]:
                lanes[at + w.IS_BLOCKED] = 1
                watch(plan[_EPOLL], scratch, lanes[at + w.DESCRIPTOR], lane, READABLE | WRITABLE)
            return 0
        if gave < 0:
            return gave
        lanes[at + w.OUTPUT_SENT] = sent + gave
        if sent + gave == load.forms[row + f.SIZE]:
            lanes[at + w.OUTPUT_SENT] = 0
            lanes[at + w.REQUESTED] += 1
    if lanes[at + w.IS_BLOCKED]:
        lanes[at + w.IS_BLOCKED] = 0
        watch(plan[_EPOLL], scratch, lanes[at + w.DESCRIPTOR], lane, READABLE)
    return 0
