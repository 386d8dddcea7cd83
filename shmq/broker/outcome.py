"""What a handler can ask for: Reply, Append, Park, Ask, Call or Await. Whoever runs the handler does it.

A handler is a pure function of tables, request and time. It never waits: what must be waited for is an
outcome with a continuation, which gives the next outcome when the thing has happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.wire.command import Command


class PutStatus(IntEnum):
    """How an append ended; the values cross the completion ring."""

    PUT_OK = 0
    FLUSH_DISK_TIMEOUT = 1
    SERVICE_NOT_AVAILABLE = 2
    MESSAGE_ILLEGAL = 3
    SYSTEM_BUSY = 4
    UNKNOWN_ERROR = 5

    @property
    def is_stored(self) -> bool:
        """Whether the records are in the log, though they may not be on disk yet."""
        return self in (PutStatus.PUT_OK, PutStatus.FLUSH_DISK_TIMEOUT)


class Peer(NamedTuple):
    """Who sent a request, and by which way it came in.

    Attributes:
        host: the client's address.
        advertised: the broker's address as clients of that interface dial it; it becomes the store host.
        is_vip: whether the request came in on the VIP port.
    """

    host: Host
    advertised: Host
    is_vip: bool = False


class Channel(NamedTuple):
    """A client's connection, as the conductor names it: valid only within one life of its worker."""

    worker: int
    epoch: int
    connection: int


class Appended(NamedTuple):
    """What the commit writer made of an Append.

    Attributes:
        status: PUT_OK and FLUSH_DISK_TIMEOUT mean stored, the others not.
        queue_offset: of the first record.
        positions: of each record in the commit log.
        store_timestamp_ms: the writer's clock.
        waited_ms: of one that never reached the writer, for which there was no room for too long: how long it waited.
        waiting_count: and how many waited behind it.
    """

    status: PutStatus
    queue_offset: int
    positions: tuple[int, ...]
    store_timestamp_ms: int
    waited_ms: int = 0
    waiting_count: int = 0


class Answered(NamedTuple):
    """The conductor's answer to an Ask; code 0 means that the tables now hold what was asked for."""

    code: int
    remark: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this; the command's body is followed by the pieces, which lie in the mapped log."""

    command: Command
    pieces: tuple[memoryview, ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """Commit these records to one queue, all or none, next to each other; then go on.

    Attributes:
        slot: the queue's slot in the queue table.
        records: at least one.
        wait_flush: whether the answer must wait for the flush under SYNC_FLUSH.
        then: gives the next outcome.
    """

    slot: int
    records: tuple[NewRecord, ...]
    wait_flush: bool
    then: Callable[[Appended], "Outcome"]


@dataclass(frozen=True, slots=True)
class Park:
    """Hold the request until the queue grows past an offset, or until the deadline.

    Attributes:
        slot: the queue's slot; NONE where no queue's growth would help.
        past_offset: look again as soon as the queue's max offset is greater.
        deadline_ms: the last moment.
        again: (now_ms, is_last) gives the next outcome; is_last forbids to park once more.
        also: more slots and offsets that it waits for.
        news: what it listens for besides (`shmq.broker.pop.desk`).
        look_ms: when to look again whatever came; 0 for not before the deadline.
        key: under which it is counted, or empty.
    """

    slot: int
    past_offset: int
    deadline_ms: int
    again: Callable[[int, bool], "Outcome"]
    also: tuple[tuple[int, int], ...] = ()
    news: tuple[str, ...] = ()
    look_ms: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the conductor do something first (make a topic, a group, an offset's row), then go on.

    Attributes:
        question: what to do; `shmq.broker.questions` names the kinds.
        then: gives the next outcome; the tables have been brought up to date before it is called.
    """

    question: dict[str, Any]
    then: Callable[[Answered], "Outcome"]


@dataclass(frozen=True, slots=True)
class Call:
    """Have a client answer something first, then go on.

    Attributes:
        channel: the client's connection.
        command: the request to it.
        patience_ms: how long its answer is waited for.
        then: gives the next outcome, of the client's answer, or of None where it gave none: it took too long, went
            away, or is on a connection that is gone already.
    """

    channel: Channel
    command: Command
    patience_ms: int
    then: Callable[[Command | None], "Outcome"]


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until something else that the conductor has under way is over, then go on.

    Attributes:
        subscribe: is given a function, to be called once when it is over.
        then: gives the next outcome.
    """

    subscribe: Callable[[Callable[[], None]], None]
    then: Callable[[], "Outcome"]


Outcome: TypeAlias = Reply | Append | Park | Ask | Call | Await
