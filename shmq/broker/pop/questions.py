"""Questions about popped messages, which network workers ask the conductor (`shmq.broker.questions`).

    kind         the conductor                                                  answers, as JSON
    -----------  -------------------------------------------------------------  ------------------------------------
    pop          gives messages to a request, those of each queue whole or not  for each queue what became of it
    pop_ack      acknowledges messages; what is not there is none of its cares  nothing, or MESSAGE_ILLEGAL
    pop_change   hides a message for another time; its earlier receipt is dead  the new receipt, or NO_MESSAGE
    pop_blocked  (nothing: it only says) which queues may not be popped now     until when, for each queue

A `taker` is a number that nobody else uses. Asked again after a crash of the conductor, a pop so gets what is its own.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

TAKEN: Final = "taken"
MOVED: Final = "moved"
BLOCKED: Final = "blocked"
FULL: Final = "full"


@dataclass(frozen=True, slots=True)
class Take:
    """What a pop wants of one queue.

    Attributes:
        topic: the queue's.
        queue_id: its number.
        expected: where the worker has seen the queue's cursor; NONE where there was none.
        begin: the first offset that it has looked at.
        end: the offset behind the last one.
        offsets: of the messages that the request gets; the others of the range are nobody's.
        positions: where they lie in the log.
    """

    topic: str
    queue_id: int
    expected: int
    begin: int
    end: int
    offsets: list[int]
    positions: list[int]


@dataclass(frozen=True, slots=True)
class PopQuestion:
    """Give messages to a request.

    Attributes:
        group: who pops.
        taker: the request.
        pop_ms: when it pops.
        invisible_ms: for how long the messages are hidden.
        is_order: whether the queues are popped in order.
        attempt_id: which attempt this is, for a pop in order.
        takes: the queues.
    """

    group: str
    taker: int
    pop_ms: int
    invisible_ms: int
    is_order: bool
    attempt_id: str
    takes: list[Take]


@dataclass(frozen=True, slots=True)
class PopAckQuestion:
    """Acknowledge messages of one queue that were popped together."""

    group: str
    topic: str
    queue_id: int
    pop_ms: int
    invisible_ms: int
    is_order: bool
    offsets: list[int]


@dataclass(frozen=True, slots=True)
class PopChangeQuestion:
    """Hide a message for another time from now on.

    Attributes:
        group: who popped it.
        topic: its queue's.
        queue_id: its queue's number.
        offset: its number in the queue.
        pop_ms: when it was popped, as its receipt says.
        invisible_ms: for how long, as its receipt says.
        is_order: whether in order.
        from_ms: now.
        for_ms: for how long from now on.
    """

    group: str
    topic: str
    queue_id: int
    offset: int
    pop_ms: int
    invisible_ms: int
    is_order: bool
    from_ms: int
    for_ms: int


@dataclass(frozen=True, slots=True)
class PopBlockedQuestion:
    """Say which queues of a topic may not be popped in order now."""

    group: str
    topic: str
    attempt_id: str


PopAnyQuestion: TypeAlias = PopQuestion | PopAckQuestion | PopChangeQuestion | PopBlockedQuestion

POP_KINDS: Final[dict[str, type[Any]]] = {
    "pop": PopQuestion,
    "pop_ack": PopAckQuestion,
    "pop_change": PopChangeQuestion,
    "pop_blocked": PopBlockedQuestion,
}


def ask(question: PopAnyQuestion) -> dict[str, Any]:
    """Return a question as it is sent."""
    kind = next(name for name, made in POP_KINDS.items() if isinstance(question, made))
    values = {name: getattr(question, name) for name in question.__slots__}
    if isinstance(question, PopQuestion):
        values["takes"] = [[getattr(take, name) for name in Take.__slots__] for take in question.takes]
    return {"ask": kind} | values


def parse(kind: str, given: dict[str, Any]) -> PopAnyQuestion:
    """Return a question of one of `POP_KINDS` as a value."""
    if kind == "pop":
        given["takes"] = [Take(*values) for values in given["takes"]]
    question: PopAnyQuestion = POP_KINDS[kind](**given)
    return question
