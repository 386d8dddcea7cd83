"""Pops: who has which message, and when it is to be tried again. The conductor's, like all that is asked of it.

A worker looks for messages from where it sees a queue's cursor, and asks for what it found. The conductor gives it all
of that if the cursor is still there, and else says that it has moved: so messages are filtered where they are read, no
lock is held while somebody reads, and nobody waits for a worker that died.

The cursor is the group's committed offset, as administrators see it. The table in shared memory is told of it once
flights and cursor are in the store (`settle`); others may move it there, by committing an offset as a consumer that
pulls does, or to have a queue consumed from elsewhere. That is heard at the next pop, and before the table is saved
(`sync`): so the document never says more than the store, and what it says after a crash of the host is old. What the
table held when the cursor was moved is kept beside it: a table that still holds that was not told, since somebody died.
An offset behind the cursor is where the queue is popped from anew, and what is out from there on is forgotten; one
before it leaves out what lies between.

Nothing is answered before `settle`: a failure undoes the round, and whoever asked is told so.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from shmq.broker.effects import Effect, Publish
from shmq.broker.offsets import Offsets, Tables
from shmq.broker.pop.flights import Cursor, Delivery, Flight, FlightStore, FlightStoreError, Key
from shmq.broker.pop.orders import Order, follow
from shmq.broker.pop.questions import (
    BLOCKED,
    FULL,
    MOVED,
    TAKEN,
    PopAckQuestion,
    PopAnyQuestion,
    PopBlockedQuestion,
    PopChangeQuestion,
    PopQuestion,
    Take,
)
from shmq.broker.updates import PopFreedUpdate
from shmq.config.settings import Config
from shmq.errors import RequestError
from shmq.memory.words import load_word
from shmq.store.position import NONE
from shmq.store.queue_table import max_address
from shmq.wire.codes import ResponseCode

_NOTHING: Final = ""


class Pops:
    """All popped messages of a broker.

    Attributes:
        is_changed: whether anything was done that `settle` has not made last.
        came: how many flights were put, or brought forward, since the conductor began.
    """

    def __init__(self, settings: Config, tables: Tables, offsets: Offsets, effects: list[Effect]) -> None:
        """Know of no flights before `use`."""
        self.is_changed = False
        self.came = 0
        self._settings = settings
        self._tables = tables
        self._offsets = offsets
        self._effects = effects
        self._store: FlightStore | None = None
        self._untold: dict[Key, int] = {}  # what the table holds of cursors that were moved in this round

    def use(self, store: FlightStore, *, is_table_new: bool, was_closed: bool) -> None:
        """Take up what a predecessor left.

        Args:
            store: where it lies.
            is_table_new: whether the committed offsets were just restored from their document.
            was_closed: whether the predecessor had saved that document at its end.
        """
        self._store = store
        for key, cursor in store.cursors():
            committed, end = self._committed(key), self._max_offset(key)
            if end == NONE:
                continue  # there is no such queue any more
            offset = min(cursor.offset, end)  # the log may have lost its end
            if offset < cursor.offset:
                self._change()
                store.remove_from(key, offset)
                store.set_cursor(key, Cursor(offset, committed))
            is_old = not was_closed if is_table_new else committed == cursor.told
            if committed in (NONE, cursor.offset) or is_old:
                self._tell(key, offset)
        self.settle()

    @property
    def store(self) -> FlightStore:
        """Where all of it is kept."""
        assert self._store is not None, "nothing is popped before the store is open"
        return self._store

    def settle(self) -> None:
        """Make last what was done, then tell the table of committed offsets.

        Raises:
            FlightStoreError: it could not be made last, and is undone.
        """
        if not self.is_changed:
            return
        self.is_changed = False
        try:
            self.store.commit()
        except FlightStoreError:
            self._untold.clear()
            self.store.roll_back()
            raise
        untold, self._untold = self._untold, {}
        for key in untold:
            cursor = self.store.cursor(key)
            if cursor is not None:
                self._tell(key, cursor.offset)

    def sync(self) -> None:
        """Hear what others did, and have the store survive a loss of power: before the table of offsets is saved.

        Raises:
            FlightStoreError: it does not; what was not settled before is undone.
        """
        if self._store is None:
            return
        for key, _ in self._store.cursors():
            self._current(key)
        self.settle()
        for key, cursor in self._store.cursors():
            if cursor.told != cursor.offset:
                self._change()
                self._store.set_cursor(key, Cursor(cursor.offset, cursor.offset))
        self.settle()
        self._store.sync()

    def close(self) -> None:
        """End in good order, after the offsets that were told are saved."""
        self.store.close()

    def answer(self, question: PopAnyQuestion, now_ms: int) -> str:
        """Do what a worker asks for; return what there is to say.

        Raises:
            RequestError: it cannot be done.
        """
        try:
            match question:
                case PopQuestion():
                    taken = [self._take(question, take, now_ms) for take in question.takes]
                    return orjson.dumps(taken).decode()
                case PopAckQuestion():
                    self._acknowledge(question, now_ms)
                    return _NOTHING
                case PopChangeQuestion():
                    return orjson.dumps(self._change_invisible(question)).decode()
                case PopBlockedQuestion(group, topic, attempt_id):
                    return orjson.dumps(self._blocked(group, topic, attempt_id, now_ms)).decode()
        except FlightStoreError as error:
            raise RequestError(ResponseCode.SYSTEM_ERROR, str(error)) from error

    def remove(self, flight: Flight) -> None:
        """Forget a flight that was tried again, unless the message was popped anew meanwhile."""
        self._change()
        self.store.remove(flight.key, Delivery(flight.offset, flight.pop_ms, flight.invisible_ms))

    def postpone(self, flight: Flight, visible_ms: int) -> None:
        """Have a flight tried again later, which cannot be now."""
        self._change()
        self.store.postpone(flight, visible_ms)

    def forget_topic(self, topic: str) -> None:
        """Forget what was popped of a topic."""
        self._forget(key for key, _ in self._known() if key.topic == topic)

    def forget_group(self, group: str) -> None:
        """Forget what a group has popped."""
        self._forget(key for key, _ in self._known() if key.group == group)

    # Taking.

    def _take(self, question: PopQuestion, take: Take, now_ms: int) -> list[Any]:
        key = Key(question.group, take.topic, take.queue_id)
        if question.is_order:
            return self._take_in_order(question, take, key, now_ms)
        current = self._current(key)
        if take.expected != current:
            return [TAKEN if self._has_taken(key, take, question.taker) else MOVED]
        limit = self._settings.pop_in_flight_max
        if self._settings.pop_in_flight_limit_enable and self.store.count(key) >= limit:
            return [FULL]
        if take.end < take.expected:  # the log has lost its end, and what is out of that
            self.store.remove_from(key, take.end)
        self._move(key, take.end)
        visible_ms = question.pop_ms + question.invisible_ms
        times = question.pop_ms, question.invisible_ms, visible_ms, question.taker
        self.store.put(
            [
                Flight(key, offset, position, *times)
                for offset, position in zip(take.offsets, take.positions, strict=True)
            ]
        )
        self.came += len(take.offsets)
        return [TAKEN]

    def _has_taken(self, key: Key, take: Take, taker: int) -> bool:
        """Whether this was asked before: a conductor that died has answered it, or was about to."""
        flights = [self.store.flight(key, offset) for offset in take.offsets]
        return bool(flights) and all(flight is not None and flight.taker == taker for flight in flights)

    def _take_in_order(self, question: PopQuestion, take: Take, key: Key, now_ms: int) -> list[Any]:
        current = self._current(key)
        last = self._order(key)
        if last is not None and last.taker == question.taker:
            return [TAKEN, last.counts, last.least_count]
        if take.expected != current:
            return [MOVED]
        if last is not None and not last.is_attempt(question.attempt_id):
            free_ms = last.free_ms(now_ms)
            if free_ms is not None:
                return [BLOCKED, free_ms]
        if not take.offsets:
            self._move(key, take.end)
            return [TAKEN, (), 0]
        offsets = tuple(take.offsets)
        attempt = question.attempt_id, question.taker
        order = follow(last, Order(question.pop_ms, question.invisible_ms, *attempt, offsets))
        self._move(key, take.begin)
        self.store.set_order(key, order.to_bytes())
        return [TAKEN, order.counts, order.least_count]

    def _blocked(self, group: str, topic: str, attempt_id: str, now_ms: int) -> dict[str, int]:
        """Return until when queues are blocked, by queue id."""
        blocked: dict[str, int] = {}
        for key, _ in self._known():
            order = self._order(key) if (key.group, key.topic) == (group, topic) else None
            if order is not None and not order.is_attempt(attempt_id):
                free_ms = order.free_ms(now_ms)
                if free_ms is not None:
                    blocked[str(key.queue_id)] = free_ms
        return blocked

    # What follows.

    def _acknowledge(self, question: PopAckQuestion, now_ms: int) -> None:
        key = Key(question.group, question.topic, question.queue_id)
        self._change()
        for offset in question.offsets:
            if question.is_order:
                self._acknowledge_in_order(key, offset, question.pop_ms, now_ms)
            else:
                self.store.remove(key, Delivery(offset, question.pop_ms, question.invisible_ms))

    def _acknowledge_in_order(self, key: Key, offset: int, pop_ms: int, now_ms: int) -> None:
        """Acknowledge a message; one of an earlier pop, or of a queue that was reset, changes nothing."""
        current, order = self._current(key), self._order(key)
        if offset < current or order is None or order.pop_ms != pop_ms:
            return
        if offset not in order.offsets:
            remark = f"offset is illegal, key:{key.topic}@{key.group}@{key.queue_id}, commit:{offset}"
            raise RequestError(ResponseCode.MESSAGE_ILLEGAL, remark)
        order = order.acknowledge(offset)
        self.store.set_order(key, order.to_bytes())
        self._move(key, order.next_offset)
        if order.free_ms(now_ms) is None:
            self._effects.append(Publish(PopFreedUpdate(key.group, key.topic)))

    def _change_invisible(self, question: PopChangeQuestion) -> tuple[int, int]:
        """Hide a message anew; return the times of its new receipt."""
        key = Key(question.group, question.topic, question.queue_id)
        if question.is_order:
            return self._change_in_order(question, key)
        flight = self.store.flight(key, question.offset)
        new = question.from_ms, question.for_ms
        held = None if flight is None else (flight.pop_ms, flight.invisible_ms)
        if flight is None or held not in ((question.pop_ms, question.invisible_ms), new):
            raise RequestError(
                ResponseCode.NO_MESSAGE, "the message is acknowledged, or was tried again already"
            )
        self._change()
        self.store.put([flight._replace(pop_ms=new[0], invisible_ms=new[1], visible_ms=sum(new))])
        self.came += 1
        return new

    def _change_in_order(self, question: PopChangeQuestion, key: Key) -> tuple[int, int]:
        visible_ms = question.from_ms + question.for_ms
        order = self._order(key)
        if order is not None and order.pop_ms == question.pop_ms and question.offset in order.offsets:
            self._change()
            self.store.set_order(key, order.change(question.offset, visible_ms).to_bytes())
            self._effects.append(Publish(PopFreedUpdate(key.group, key.topic)))  # it may be free earlier
        return question.pop_ms, visible_ms - question.pop_ms

    # Cursors.

    def _current(self, key: Key) -> int:
        """Return a queue's cursor, after what others may have done to it; NONE where there is none."""
        committed, cursor = self._committed(key), self.store.cursor(key)
        if cursor is None:
            return committed
        if committed in (NONE, self._untold.get(key, cursor.offset)):
            return cursor.offset
        self._move_by_others(key, committed, cursor.offset)
        return committed

    def _move(self, key: Key, offset: int) -> None:
        """Move a cursor; the table is told by `settle`."""
        self._change()
        told = self._untold.setdefault(key, self._committed(key))
        self.store.set_cursor(key, Cursor(offset, told))

    def _move_by_others(self, key: Key, offset: int, cursor: int) -> None:
        self._change()
        if offset < cursor:
            self.store.remove_from(key, offset)
        self.store.remove_order(key)
        self._untold.pop(key, None)
        self._move(key, offset)

    def _committed(self, key: Key) -> int:
        return self._offsets.query(key.group, key.topic, key.queue_id)

    def _tell(self, key: Key, offset: int) -> None:
        slot = self._slot(key)
        if slot != NONE:
            # A reset was heard, or goes back on what was popped before it.
            self._offsets.end_reset(key.group, slot)
            self._offsets.commit(key.group, slot, offset)

    def _slot(self, key: Key) -> int:
        topic_id = self._tables.topics.find(key.topic.encode())
        return NONE if topic_id == NONE else self._tables.queues.find(topic_id, key.queue_id)

    def _max_offset(self, key: Key) -> int:
        slot = self._slot(key)
        return NONE if slot == NONE else load_word(max_address(self._tables.queues.address, slot))

    # The rest.

    def _order(self, key: Key) -> Order | None:
        content = self.store.order(key)
        return None if content is None else Order.from_bytes(content)

    def _known(self) -> list[tuple[Key, Cursor]]:
        return [] if self._store is None else self._store.cursors()

    def _forget(self, keys: Iterable[Key]) -> None:
        gone = list(keys)
        if gone:
            self._change()
            self.store.forget(gone)
            for key in gone:
                self._untold.pop(key, None)

    def _change(self) -> None:
        self.is_changed = True
