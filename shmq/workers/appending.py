"""The producer's side of the log: records into the submit ring, completions out, answers when they may go.

An Append is encoded in place, in the ring. Its completion says where it lies; under SYNC_FLUSH one that
wants to wait is held until `flushed` has passed its end, or its deadline, and is then told apart by its
status. A full ring keeps Appends in order in memory, where each may wait only so long: then it gets
SYSTEM_BUSY, as a request that waits too long in the Java broker's queue does; a one-way send, whose producer would not
hear of it, waits on, and its connection with it. Sends are refused as they come while
the writer takes nothing (`busy.py`). One that no ring can hold (a
batch of many small messages is longer as records than as it came) is MESSAGE_ILLEGAL, and holds up nobody.

Numbers of submissions begin anew above those of any earlier life of this process, so a completion for a
predecessor is nobody's and is dropped.

A network worker's kernels submit to the same ring and read the completions. Those of Appends come here by way of a
list on the worker's desk, and while Appends wait for room the desk says so, lest the kernels overtake them.
"""

import ctypes
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from shmq.broker.outcome import Append, Appended, Outcome, PutStatus
from shmq.fastpath import completing, desk
from shmq.memory.words import load_word, store_word
from shmq.ring import spsc
from shmq.ring.doorbell import ring_bell
from shmq.shared import roster, submission
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.plan import BELL_WRITER
from shmq.store import record
from shmq.store.position import NONE
from shmq.store.record import NewRecord

_HEAD: Final = struct.Struct("<iiii")
_COMPLETION: Final = struct.Struct("<iiqqq")
_FOREIGN: Final = struct.Struct("<qiiqqq")

assert _HEAD.size == submission.HEAD_SIZE
assert _COMPLETION.size == submission.COMPLETION_SIZE
assert _FOREIGN.size == completing.FOREIGN_BYTES

NEVER: Final = 1 << 62

Then = Callable[[Appended], None]


@dataclass(slots=True)
class _Pending:
    """A submission that the writer has, or will have."""

    sizes: tuple[int, ...]
    wait_flush: bool
    then: Then


@dataclass(slots=True, eq=False)
class _Waiting:
    """An Append that finds the ring full.

    Attributes:
        append: what is to be submitted.
        then: goes on with the result.
        since_ms: since when it waits.
        is_patient: whether it waits however long it takes.
    """

    append: Append
    then: Then
    since_ms: int
    is_patient: bool


class Appender:
    """One sender's rings to the writer and back."""

    def __init__(
        self,
        memory: BrokerMemory,
        sender: int,
        epoch: int,
        is_sync_flush: bool,
        waits: "Waits",
        at_desk: int = 0,
    ) -> None:
        """Take an end of both rings; a desk is given where kernels share them, with its tables on it."""
        self._desk = at_desk
        self._view = memory.bytes_of(f"submit/{sender}").data
        self._answers = memory.bytes_of(f"completions/{sender}").data
        self._ring = memory.place(f"submit/{sender}")
        self._completions = memory.place(f"completions/{sender}")
        self._writer_bell = memory.bell(BELL_WRITER)
        self._watermarks = memory.watermarks
        self._is_sync_flush = is_sync_flush
        self._waits = waits
        self._serials = roster.serials(epoch)
        self._pending: dict[int, _Pending] = {}
        self._payload_bytes_max = spsc.payload_bytes_max(spsc.capacity_of(self._ring))
        self._full: deque[_Waiting] = deque()
        self._too_long: deque[Then] = deque()
        self._unflushed: deque[tuple[int, int, Appended, Then]] = deque()  # end, deadline, ...
        self._has_news = True  # a predecessor may have died after it had submitted, before it rang
        self._is_busy = False

    @property
    def is_full(self) -> bool:
        """Whether the ring has no room: nothing new should be taken on."""
        return bool(self._full)

    @property
    def is_busy(self) -> bool:
        """Whether sends are to be refused, since the writer takes nothing."""
        return self._is_busy

    @property
    def in_flight(self) -> int:
        """How many Appends have no answer yet."""
        return len(self._pending) + len(self._full) + len(self._too_long) + len(self._unflushed)

    @property
    def wants_flush_news(self) -> bool:
        """Whether answers wait for the flush."""
        return bool(self._unflushed)

    @property
    def wanted_flushed(self) -> int:
        """How far the flush must come for the next answer, or NONE."""
        return self._unflushed[0][0] if self._unflushed else NONE

    @property
    def is_idle(self) -> bool:
        """Whether `collect` would find nothing: no completion, and no flush that an answer waits for."""
        is_flushed = self._unflushed and self._unflushed[0][0] <= self._watermarks.flushed
        is_empty = spsc.is_empty(self._completions) and not (self._desk and load_word(self._foreign()))
        return is_empty and not is_flushed and not self._too_long

    def wait_ms(self, now_ms: int, longest_ms: int) -> int:
        """How long until the next answer has waited for the flush for too long."""
        if not self._unflushed:
            return longest_ms
        return max(0, min(longest_ms, self._unflushed[0][1] - now_ms))

    def submit(self, append: Append, then: Then, now_ms: int, *, is_patient: bool = False) -> None:
        """Send an Append to the writer; `then` is called with the result in some later `collect`.

        One that is patient is never refused for having waited: it is for who would not hear of it.
        """
        if self._full or not self._offer(append, then):
            self._full.append(_Waiting(append, then, now_ms, is_patient))
            self._say_who_waits()

    def store(
        self, slot: int, records: tuple[NewRecord, ...], settle: Callable[[Appended], None], now_ms: int
    ) -> None:
        """Send records of the broker's own to the writer, all or none, next to each other in one queue."""
        self.submit(Append(slot, records, wait_flush=False, then=_answer_nobody), settle, now_ms)

    def collect(self, now_ms: int) -> int:
        """Read completions, end waits; return how many Appends were answered."""
        answered = self._read_completions(now_ms)
        while self._full and self._offer(self._full[0].append, self._full[0].then):
            self._full.popleft()
        answered += self._refuse_late(now_ms)
        self._say_who_waits()
        while self._too_long:
            self._too_long.popleft()(_refused(PutStatus.MESSAGE_ILLEGAL))
            answered += 1
        return answered + self._release_flushed(now_ms)

    def _refuse_late(self, now_ms: int) -> int:
        """Answer those that have waited too long for room; return how many."""
        late = [
            each
            for each in self._full
            if not each.is_patient and now_ms - each.since_ms >= self._waits.ring_ms
        ]
        busy = _refused(PutStatus.SYSTEM_BUSY)
        for each in late:
            self._full.remove(each)
            each.then(busy._replace(waited_ms=now_ms - each.since_ms, waiting_count=len(self._full)))
        return len(late)

    def flush(self) -> None:
        """Wake the writer if something was submitted since the last call."""
        if self._has_news:
            self._has_news = False
            ring_bell(self._writer_bell)

    def _offer(self, append: Append, then: Then) -> bool:
        """Put an Append in the ring; False where it has to wait for room."""
        sizes = tuple(map(record.size_of, append.records))
        size_bytes = submission.HEAD_SIZE + sum(sizes)
        position = spsc.claim(self._ring, size_bytes)
        if position < 0:
            if size_bytes <= self._payload_bytes_max:
                return False
            self._too_long.append(then)
            return True
        at = spsc.payload_address(self._ring, position) - self._ring
        _HEAD.pack_into(self._view, at, append.slot, len(sizes), size_bytes - submission.HEAD_SIZE, 0)
        at += submission.HEAD_SIZE
        for each, size in zip(append.records, sizes, strict=True):
            record.encode_into(each, self._view, at)
            at += size
        serial = next(self._serials)
        self._pending[serial] = _Pending(sizes, append.wait_flush, then)
        after = spsc.fill_head(self._ring, position, size_bytes, submission.SUBMISSION, serial)
        spsc.publish(self._ring, after)
        self._has_news = True
        return True

    def say_busy(self, *, is_busy: bool) -> None:
        """Note whether sends are to be refused: then the kernels leave them all to Python."""
        self._is_busy = is_busy
        self._say_who_waits()

    def _say_who_waits(self) -> None:
        if self._desk:
            store_word(self._desk + desk.APPENDS_WAIT, int(self.is_full or self._is_busy))

    def _foreign(self) -> int:
        """The list of completions that the kernels leave to us; its first word counts them."""
        return load_word(self._desk + desk.FOREIGN)

    def _read_completions(self, now_ms: int) -> int:
        if self._desk:
            return self._read_foreign(now_ms)
        consumed = spsc.consumed_position(self._completions)
        read: list[tuple[int, tuple[int, ...]]] = []
        while True:
            found = spsc.peek(self._completions, consumed)
            if found.position < 0:
                break
            read.append(
                (found.tag, _COMPLETION.unpack_from(self._answers, found.address - self._completions))
            )
            consumed = found.position + spsc.space_of(found.size_bytes)
        if not read:
            return 0
        spsc.give_back(self._completions, consumed)
        ring_bell(self._writer_bell)  # it may have stopped for want of room here
        return sum(self._answer(tag, completion, now_ms) for tag, completion in read)

    def _read_foreign(self, now_ms: int) -> int:
        foreign = self._foreign()
        count = load_word(foreign + completing.FOREIGN_COUNT)
        if not count:
            return 0
        content = ctypes.string_at(foreign + completing.FOREIGN_AT, completing.FOREIGN_BYTES * count)
        store_word(foreign + completing.FOREIGN_COUNT, 0)
        return sum(self._answer(tag, tuple(rest), now_ms) for tag, *rest in _FOREIGN.iter_unpack(content))

    def _answer(self, tag: int, completion: tuple[int, ...], now_ms: int) -> int:
        pending = self._pending.pop(tag, None)
        if pending is None:
            return 0  # a predecessor's, or answered before a writer died
        status, _, queue_offset, position, store_ms = completion
        if status != PutStatus.PUT_OK:
            pending.then(_refused(PutStatus(status)))
            return 1
        *positions, end = accumulate(pending.sizes, initial=position)
        appended = Appended(PutStatus.PUT_OK, queue_offset, tuple(positions), store_ms)
        if self._is_sync_flush and pending.wait_flush:
            self._unflushed.append((end, now_ms + self._waits.flush_ms, appended, pending.then))
            return 0
        pending.then(appended)
        return 1

    def _release_flushed(self, now_ms: int) -> int:
        if not self._unflushed:
            return 0
        flushed = self._watermarks.flushed
        released = 0
        while self._unflushed:
            end, deadline_ms, appended, then = self._unflushed[0]
            if end > flushed:
                if deadline_ms > now_ms:
                    break
                appended = appended._replace(status=PutStatus.FLUSH_DISK_TIMEOUT)
            self._unflushed.popleft()
            then(appended)
            released += 1
        return released


@dataclass(frozen=True, slots=True)
class Waits:
    """How long an Append may wait for room in the ring, and for the flush.

    Attributes:
        ring_ms: for room; NEVER where it waits until there is some.
        flush_ms: for the flush.
    """

    ring_ms: int
    flush_ms: int


def _answer_nobody(_appended: Appended) -> Outcome:
    raise AssertionError("nobody has asked for it")


def _refused(status: PutStatus) -> Appended:
    return Appended(status, 0, (), 0)
