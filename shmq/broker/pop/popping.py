"""Pop: messages of any queue for any member of a group, each hidden from the others for a while.

A worker looks for messages from each queue's cursor on, and asks the conductor for all it found at once (`pops.py`).
What is granted is answered; where another was quicker everything is looked at anew, from the cursors as they are then,
so that one of all who ask has always got something. Where there is nothing the pop waits, for its queues to grow, for
its retry topic to be made, for a queue that it pops in order to be free again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from shmq.broker.filters import MessageFilter
from shmq.broker.names import pop_retry_topic
from shmq.broker.outcome import Answered, Ask, Outcome, Park, Peer, Reply
from shmq.broker.pop.checks import check_readable, consuming_group, readable_topic, requested_filter
from shmq.broker.pop.desk import Chain, freed_news, held_key, topic_news
from shmq.broker.pop.questions import BLOCKED, FULL, MOVED, TAKEN, PopQuestion, Take, ask
from shmq.broker.pop.reading import Find, Where, first_offset, hand_out, look
from shmq.broker.questions import ask_group
from shmq.broker.replica import GroupView, Replica, TopicView
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.pop_headers import (
    INIT_MAX,
    ORDER_REVIVE_QUEUE,
    PopHeader,
    PopResponseHeader,
    Receipt,
    join_parts,
    write_offsets,
    write_order_counts,
    write_start_offset,
)

COUNT_MAX: Final = 32
LATE_MS: Final = 500
EARLY_MS: Final = 50
"""A pop that waits is answered so long before its client gives up."""
ATTEMPTS_MAX: Final = 64
FULL_LOOK_MS: Final = 1000
_TAKER_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class _Pop:
    """A pop, and what it has come to.

    Attributes:
        broker: the tables.
        request: as it came.
        header: its fields.
        deadline_ms: until when it may wait.
        wanted: the filter.
        is_last: whether it must be answered now.
        attempts: how often it has looked again at once, since others were quicker or there is more.
    """

    broker: Replica
    request: Command
    header: PopHeader
    deadline_ms: int
    wanted: MessageFilter = None
    is_last: bool = False
    attempts: int = 0


@dataclass(slots=True)
class _Tour:
    """What one pass through the queues came to.

    Attributes:
        topic: what is popped.
        group: who pops.
        pop_ms: when.
        finds: what was found in each queue.
        rest: how many messages are left, as far as is known.
        retry_topic: where the messages to be tried again are; None where they are not looked for.
        look_ms: when to look again whatever comes; 0 for no time.
        blocked: queues that may not be popped now, as (topic, queue id).
    """

    topic: TopicView
    group: GroupView
    pop_ms: int
    finds: list[Find]
    rest: int
    retry_topic: str | None
    look_ms: int
    blocked: set[tuple[str, int]]


def handle_pop(broker: Replica, request: Command, _peer: Peer, now_ms: int) -> Outcome:
    """POP_MESSAGE: messages of a topic that no other member of the group gets while they are hidden."""
    header = read_header(PopHeader, request.fields)
    born_ms = header.born_ms or now_ms
    if now_ms - born_ms - header.poll_ms > LATE_MS:
        remark = f"the broker[{broker.broker_host}] pop message is timeout too much"
        raise RequestError(ResponseCode.POLLING_TIMEOUT, remark, _nothing(header, now_ms))
    check_readable(broker, "pop message")
    if header.count_max > COUNT_MAX:
        remark = f"the broker[{broker.broker_host}] pop message's num is greater than {COUNT_MAX}"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    return _pop(_Pop(broker, request, header, born_ms + header.poll_ms - EARLY_MS), now_ms)


def _pop(pop: _Pop, now_ms: int) -> Outcome:
    broker, header = pop.broker, pop.header
    topic = readable_topic(broker, header.topic, header.queue_id)
    if header.consumer_group not in broker.groups:
        return _ask_for_group(pop, now_ms)
    group = consuming_group(broker, header.consumer_group)
    pop = replace(pop, wanted=requested_filter(header.expression, header.expression_type))
    tour = _Tour(topic, group, now_ms, [], 0, _retry_topic(pop), 0, set())
    left = max(header.count_max, 1)
    for source, queue_id in _queues(pop, tour):
        expected = _cursor(pop, tour, source, queue_id)
        if left <= 0:
            max_offset = broker.reader.bounds(source.slots[queue_id])[1]
            tour.rest += max(max_offset - max(expected, 0), 0)
            continue
        begin = expected
        if begin == NONE:
            begin = first_offset(broker, source, queue_id, from_max=header.init_mode == INIT_MAX)
        find = look(broker, Where(source, queue_id, expected, begin), left, pop.wanted)
        tour.finds.append(find)
        tour.rest += find.rest
        left -= len(find.offsets)
    return _ask_for(pop, tour)


def _queues(pop: _Pop, tour: _Tour) -> Iterator[tuple[TopicView, int]]:
    """Yield the queues to look into, in order: of the retry topic first or last, as chance has it."""
    broker, header = pop.broker, pop.header
    retry = None if tour.retry_topic is None else broker.topics.get(tour.retry_topic)
    chance = broker.random.randrange(100)
    is_retry_first = chance < broker.config.pop_retry_first_percent
    if retry is not None and is_retry_first:
        yield from _all_queues(retry, chance)
    if header.queue_id < 0:
        yield from _all_queues(tour.topic, chance)
    else:
        yield tour.topic, header.queue_id
    if retry is not None and not is_retry_first:
        yield from _all_queues(retry, chance)


def _all_queues(topic: TopicView, chance: int) -> Iterator[tuple[TopicView, int]]:
    count = topic.config.read_queue_count
    for index in range(count):
        yield topic, (chance + index) % count


def _retry_topic(pop: _Pop) -> str | None:
    """Return the name of the topic with the messages to be tried again; those popped in order stay where they are."""
    broker, header = pop.broker, pop.header
    if header.is_order:
        return None
    is_v2 = broker.config.pop_retry_topic_v2_enable
    if is_v2 and broker.config.pop_retry_topic_v1_enable and broker.random.randrange(2):
        is_v2 = False
    return pop_retry_topic(header.topic, header.consumer_group, v2=is_v2)


def _cursor(pop: _Pop, tour: _Tour, topic: TopicView, queue_id: int) -> int:
    """Return where a queue's cursor is, or will be once what others ask for is granted; NONE where there is none."""
    slot = topic.slots[queue_id]
    committed = pop.broker.committed_offset(tour.group.name, slot)
    if pop.header.is_order:
        return committed
    return pop.broker.pops.ahead(tour.group.group_id, slot, committed)


# Asking.


def _ask_for(pop: _Pop, tour: _Tour) -> Outcome:
    """Ask for what was found, or for the cursors to pass what nobody wants."""
    header = pop.header
    asked = [find for find in tour.finds if not find.changes_nothing]
    if not asked:
        return _wait(pop, tour)
    chains = [] if header.is_order else [_join(pop, tour, find) for find in asked]
    question = PopQuestion(
        group=tour.group.name,
        taker=pop.broker.random.getrandbits(_TAKER_BITS),
        pop_ms=tour.pop_ms,
        invisible_ms=header.invisible_ms,
        is_order=header.is_order,
        attempt_id=header.attempt_id or "",
        takes=[
            Take(
                *(find.topic.name, find.queue_id, find.expected, find.begin, find.end),
                *(list(find.offsets), list(find.positions)),
            )
            for find in asked
        ],
    )

    def then(answered: Answered) -> Outcome:
        results = orjson.loads(answered.remark) if answered.code == ResponseCode.SUCCESS else []
        for index, chain in enumerate(chains):
            is_granted = bool(results) and results[index][0] == TAKEN
            slot = asked[index].slot
            pop.broker.pops.leave(tour.group.group_id, slot, chain, is_granted=is_granted)
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark, _nothing(header, tour.pop_ms))
        return _take(pop, tour, asked, results)

    return Ask(ask(question), then)


def _join(pop: _Pop, tour: _Tour, find: Find) -> Chain:
    return pop.broker.pops.join(tour.group.group_id, find.slot, find.end)


def _take(pop: _Pop, tour: _Tour, asked: list[Find], results: list[list[Any]]) -> Outcome:
    """Answer what was granted; begin again where there is none and others were quicker."""
    granted: list[tuple[Find, list[Any]]] = []
    is_moved = False
    for find, (what, *details) in zip(asked, results, strict=True):
        if what == TAKEN:
            if find.offsets:
                granted.append((find, details))
            continue
        is_moved |= what == MOVED
        if what == BLOCKED:
            tour.rest -= find.rest  # what is behind a blocked queue's head wakes nobody
            _block(tour, find, details[0])
        else:
            tour.rest += len(find.offsets)
        if what == FULL:
            _block(tour, find, tour.pop_ms + FULL_LOOK_MS)
    if granted:
        return _answer(pop, tour, granted)
    if is_moved and pop.attempts < ATTEMPTS_MAX:
        return _pop(replace(pop, attempts=pop.attempts + 1), tour.pop_ms)
    if is_moved:
        return _answer_nothing(pop, tour, ResponseCode.POLLING_TIMEOUT)
    return _wait(pop, tour)


def _block(tour: _Tour, find: Find, free_ms: int) -> None:
    """Note that a queue may not be popped before a time, unless there is news of it."""
    tour.blocked.add((find.topic.name, find.queue_id))
    tour.look_ms = free_ms if not tour.look_ms else min(tour.look_ms, free_ms)


def _ask_for_group(pop: _Pop, now_ms: int) -> Ask:
    name = pop.header.consumer_group

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS or name not in pop.broker.groups:
            remark = f"subscription group [{name}] does not exist"
            raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        return _pop(pop, now_ms)

    return Ask(ask_group(name), then)


# Waiting.


def _wait(pop: _Pop, tour: _Tour) -> Outcome:
    """Wait for messages, if the client wants to and there is room for who waits."""
    broker, header = pop.broker, pop.header
    waiting = [
        (find.slot, find.end) for find in tour.finds if (find.topic.name, find.queue_id) not in tour.blocked
    ]
    # While the conductor was asked there may have come more; or so much is there that nobody wants.
    has_more = any(broker.reader.bounds(slot)[1] > end for slot, end in waiting)
    if has_more and pop.attempts < ATTEMPTS_MAX:
        return _pop(replace(pop, attempts=pop.attempts + 1), tour.pop_ms)
    if header.poll_ms <= 0 or pop.is_last or has_more or tour.pop_ms >= pop.deadline_ms:
        return _answer_nothing(pop, tour, ResponseCode.POLLING_TIMEOUT)
    key = held_key(header.topic, header.consumer_group, header.queue_id)
    config = broker.config
    is_full = broker.pops.count_held(key) >= config.pop_held_per_queue_max
    if is_full or broker.pops.count_held("") >= config.pop_held_max:
        return _answer_nothing(pop, tour, ResponseCode.POLLING_FULL)
    news = [freed_news(header.consumer_group, header.topic)] if tour.blocked else []
    if tour.retry_topic is not None and tour.retry_topic not in broker.topics:
        news.append(topic_news(tour.retry_topic))
    (slot, past_offset), *also = waiting or [(NONE, 0)]
    return Park(
        slot,
        past_offset,
        pop.deadline_ms,
        lambda now_ms, is_last: _pop(replace(pop, is_last=is_last, attempts=0), now_ms),
        also=tuple(also),
        news=tuple(news),
        look_ms=tour.look_ms,
        key=key,
    )


# Answering.


def _answer(pop: _Pop, tour: _Tour, granted: list[tuple[Find, list[Any]]]) -> Reply:
    broker, header = pop.broker, pop.header
    revive_queue_id = ORDER_REVIVE_QUEUE if header.is_order else 0
    counts: list[str] = []
    pieces: list[memoryview] = []
    for find, details in granted:
        receipt = Receipt(
            *(find.begin, tour.pop_ms, header.invisible_ms, revive_queue_id, find.kind),
            *(broker.config.broker_name, find.queue_id, NONE),
        )
        pieces += hand_out(broker, find, header.topic, receipt)
        if header.is_order:
            counts += write_order_counts(find.kind, find.queue_id, details[0], details[1])
    finds = [find for find, _ in granted]
    response = PopResponseHeader(
        pop_ms=tour.pop_ms,
        invisible_ms=header.invisible_ms,
        revive_queue_id=revive_queue_id,
        rest_count=tour.rest,
        start_offsets=join_parts(write_start_offset(find.kind, find.queue_id, find.begin) for find in finds),
        message_offsets=join_parts(write_offsets(find.kind, find.queue_id, find.offsets) for find in finds),
        order_counts=join_parts(counts) if header.is_order else None,
    )
    answer = pop.request.reply(ResponseCode.SUCCESS, "FOUND", write_header(response))
    return Reply(answer, tuple(pieces))


def _answer_nothing(pop: _Pop, tour: _Tour, code: ResponseCode) -> Reply:
    fields = _nothing(pop.header, tour.pop_ms, tour.rest)
    return Reply(pop.request.reply(code, "NO_MESSAGE_IN_QUEUE", fields))


def _nothing(header: PopHeader, now_ms: int, rest: int = 0) -> dict[str, str]:
    """Return the fields of an answer without messages, which clients read all the same."""
    return write_header(
        PopResponseHeader(
            pop_ms=now_ms,
            invisible_ms=header.invisible_ms,
            revive_queue_id=ORDER_REVIVE_QUEUE if header.is_order else 0,
            rest_count=rest,
            start_offsets="",
            message_offsets="",
        )
    )
