"""Kernels: the pull in its plain form: twin of `broker/pulling.py`, byte for byte.

A pull is plain where it would be answered with what a read of the queue came to, or wait for more. Everything else,
refusals above all, is SLOW: Python looks at it from the beginning. So nothing is done, not even the commit of an
offset, before it is certain that the answer is ours.

What waits is parsed and checked again when its queue has grown, or its time is over, as in Python. Where it is not
plain any more then, or a file is not mapped, it is handed up to Python and served there as a new pull, which must not
do again what was done: the copy that waits does not ask to commit, and what is handed up says how long it may still
wait. That is written over the numbers in the frame, so they must stand in it as digits, else the pull does not wait here.
"""

from typing import Final, NamedTuple

from shmq.broker.pulling import SUSPEND_MS_MAX
from shmq.fastpath import connections, desk, groups, parked_rows, reading, topics
from shmq.fastpath.connections import HANDED_UP, VIP, extend, has_flag, reserve
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.parked_rows import Wait, park, wait_on
from shmq.fastpath.parsing import parse
from shmq.fastpath.pull_answers import (
    PULL_HEAD_ROOM_BYTES,
    PULL_NOT_FOUND,
    PULL_OFFSET_MOVED,
    PULL_RETRY_IMMEDIATELY,
    SUCCESS,
    put_pull_head,
)
from shmq.fastpath.reading import copy_found, read
from shmq.fastpath.request import (
    BINARY,
    COMMIT_OFFSET,
    CONSUMER_GROUP,
    EXPRESSION_TYPE,
    FLAG,
    MESSAGE_BYTES_MAX,
    MESSAGE_COUNT_MAX,
    QUEUE_ID,
    QUEUE_OFFSET,
    REQUEST_SOURCE,
    SUBSCRIPTION,
    SUBSCRIPTION_VERSION,
    SUSPEND_TIMEOUT_MS,
    SYS_FLAG,
    TOPIC,
    field,
    int32_of,
    int64_of,
)
from shmq.fastpath.tags import ALL, UNREADABLE, is_same_filter, parse_tags
from shmq.jit import kernel, kernel_apart
from shmq.memory.atomics import store_release
from shmq.memory.endian import load_native_i32, load_native_i64, load_u8, store_native_i64, store_u8
from shmq.store.offset_table import find_offset, offset_address, pending_reset
from shmq.store.position import NONE
from shmq.store.queue_table import find_queue
from shmq.wire.flags import PERM_READ, PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND
from shmq.wire.frame import FRAME_BYTES_MAX

WAITS: Final = 2
"""The pull goes on waiting."""

_FRAME_BYTES_MAX: Final = 8192  # a longer frame waits in Python
_TAG: Final = int.from_bytes(b"TAG", "little")
_QUOTE, _ZERO, _BLANK = b'"0 '


class Pull(NamedTuple):
    """A plain pull.

    Attributes:
        slot: the queue's.
        queue_offset: the first message wanted.
        count_max: how many are wanted.
        sys_flag: what the client wants else.
        group_id: the group's.
        topic_id: the topic's.
        wait_ms: how long it may wait.
        commit: where the offset is stored that is to be committed, or 0.
        commit_offset: that offset.
        tags: where the hashes of its filter lie.
        tag_count: how many they are; ALL for all messages.
    """

    slot: int
    queue_offset: int
    count_max: int
    sys_flag: int
    group_id: int
    topic_id: int
    wait_ms: int
    commit: int
    commit_offset: int
    tags: int
    tag_count: int


class _Numbers(NamedTuple):
    """The numbers of a pull as they came."""

    queue_offset: int
    count_max: int
    sys_flag: int
    commit_offset: int
    suspend_ms: int
    version: int


@kernel_apart
def pull(at_desk: int, row: int, request: int, frame: int, frame_bytes: int) -> int:
    """Serve a pull that came in on a connection: answer it, or let it wait; DONE, or SLOW where it is not plain."""
    if load_native_i64(request + FLAG) != 0 or has_flag(row, VIP):
        return SLOW
    is_plain, asked = _understand(at_desk, request)
    if not is_plain or (asked.commit != 0 and has_flag(row, HANDED_UP)):
        return SLOW
    if not read(at_desk, asked.slot, asked.queue_offset, asked.count_max, asked.tags, asked.tag_count):
        return SLOW
    found = load_native_i64(at_desk + desk.READING)
    if asked.sys_flag & PULL_SUSPEND and _is_awaited(found, asked.queue_offset, False):
        if not _begin_to_wait(at_desk, row, asked, frame, frame_bytes):
            return SLOW
    elif not _answer(at_desk, row, asked, asked.queue_offset):
        return SLOW
    if asked.commit != 0:
        store_release(asked.commit, asked.commit_offset)  # pairs with OffsetTable.load()
    return DONE


@kernel_apart
def pull_again(at_desk: int, waiting: int, is_last: int) -> int:
    """Look again at a pull that waits; DONE where it is answered, WAITS, or SLOW where it is for Python.

    Args:
        at_desk: the worker's desk.
        waiting: its row (`parked_rows.py`), which stays where it is.
        is_last: 1 if it must be answered now, or 0.
    """
    request = load_native_i64(at_desk + desk.REQUEST)
    frame = load_native_i64(waiting + parked_rows.FRAME)
    if not parse(request, frame, load_native_i64(waiting + parked_rows.FRAME_BYTES)):
        return SLOW
    is_plain, asked = _understand(at_desk, request)
    if not is_plain:
        return SLOW
    is_same = is_same_filter(
        asked.tags,
        asked.tag_count,
        load_native_i64(waiting + parked_rows.TAGS),
        load_native_i64(waiting + parked_rows.TAG_COUNT),
    )
    begin = asked.queue_offset
    if is_same:
        begin = max(begin, load_native_i64(waiting + parked_rows.PAST_OFFSET))
    if not read(at_desk, asked.slot, begin, asked.count_max, asked.tags, asked.tag_count):
        return SLOW
    found = load_native_i64(at_desk + desk.READING)
    if is_last == 0 and asked.sys_flag & PULL_SUSPEND and _is_awaited(found, begin, True):
        past_offset = load_native_i64(found + reading.NEXT_OFFSET)
        if is_same:
            store_native_i64(waiting + parked_rows.PAST_OFFSET, past_offset)
            return WAITS
        return (
            WAITS if wait_on(waiting, Wait(asked.slot, past_offset, 0, asked.tags, asked.tag_count)) else SLOW
        )
    row = load_native_i64(waiting + parked_rows.CONNECTION)
    return DONE if _answer(at_desk, row, asked, begin) else SLOW


@kernel
def write_time_left(waiting: int, now_ms: int) -> None:
    """Write into the frame of a pull that waits how long it may go on waiting."""
    at = load_native_i64(waiting + parked_rows.SUSPEND_AT)
    if at == 0:
        return
    size_bytes = load_native_i64(waiting + parked_rows.SUSPEND_BYTES)
    left_ms = min(max(load_native_i64(waiting + parked_rows.DEADLINE_MS) - now_ms, 0), _most_of(size_bytes))
    frame = load_native_i64(waiting + parked_rows.FRAME)
    at += frame
    # Zeros may lead in the binary header, and behind a quotation mark. A bare number of JSON ends in blanks.
    is_text = load_u8(frame + 4) == BINARY or load_u8(at - 1) == _QUOTE
    digits = 1
    while digits < size_bytes and _most_of(digits) < left_ms:
        digits += 1
    end = at + (size_bytes if is_text else digits)
    place = at + size_bytes - 1
    while place >= end:
        store_u8(place, _BLANK)
        place -= 1
    while place >= at:
        store_u8(place, _ZERO + left_ms % 10)
        left_ms //= 10
        place -= 1


@kernel
def _understand(at_desk: int, request: int) -> tuple[bool, Pull]:
    """What a request asks for, and whether it is plain as far as can be seen before the queue is read."""
    found = load_native_i64(at_desk + desk.READING)
    is_plain, given = _numbers(request)
    group_id, topic_id, slot = _source(at_desk, request)
    is_plain = is_plain and slot != NONE and load_native_i64(found + reading.IS_READABLE) != 0
    commit = 0
    tags = 0
    tag_count = UNREADABLE
    if is_plain:
        if given.sys_flag & PULL_SUBSCRIPTION:
            tags, tag_count = _requested_tags(at_desk, request)
        else:
            tags, tag_count = groups.find_subscription(at_desk, group_id, topic_id, given.version)
        offsets = load_native_i64(at_desk + desk.OFFSETS)
        row = find_offset(offsets, group_id, slot)
        if row != NONE:
            is_plain = pending_reset(offsets, row) == NONE
        if given.sys_flag & PULL_COMMIT_OFFSET and given.commit_offset >= 0:
            is_plain = is_plain and row != NONE
            commit = offset_address(offsets, row)
    wait_ms = load_native_i64(found + reading.WAIT_MS)
    if wait_ms == NONE:
        wait_ms = given.suspend_ms
    if tag_count != ALL and load_native_i64(found + reading.HAS_EXTENSIONS) != 0:
        is_plain = False
    return is_plain and tag_count != UNREADABLE, Pull(
        slot,
        given.queue_offset,
        max(given.count_max, 1),  # a first message is always given
        given.sys_flag,
        group_id,
        topic_id,
        min(max(wait_ms, 0), SUSPEND_MS_MAX),
        commit,
        given.commit_offset,
        tags,
        tag_count,
    )


@kernel
def _numbers(request: int) -> tuple[bool, _Numbers]:
    """The numbers of a pull, and whether all that must be there are, and all are some."""
    has_offset, queue_offset = int64_of(request, QUEUE_OFFSET)
    has_count, count_max = int32_of(request, MESSAGE_COUNT_MAX)
    has_sys_flag, sys_flag = int32_of(request, SYS_FLAG)
    has_commit, commit_offset = int64_of(request, COMMIT_OFFSET)
    has_suspend, suspend_ms = int64_of(request, SUSPEND_TIMEOUT_MS)
    has_version, version = int64_of(request, SUBSCRIPTION_VERSION)
    is_plain = (
        has_offset
        and has_count
        and has_sys_flag
        and has_commit
        and has_suspend
        and has_version
        and _is_number_or_none(request, MESSAGE_BYTES_MAX)
        and _is_number_or_none(request, REQUEST_SOURCE)
        and sys_flag >= 0
    )
    return is_plain, _Numbers(queue_offset, count_max, sys_flag, commit_offset, suspend_ms, version)


@kernel
def _source(at_desk: int, request: int) -> tuple[int, int, int]:
    """Ids of the group and the topic of a pull, and the slot of its queue; NONE unless all of it may be read."""
    name, name_bytes = field(request, CONSUMER_GROUP)
    group_id = groups.find_group(at_desk, name, name_bytes)
    name, name_bytes = field(request, TOPIC)
    topic_id = topics.find_topic(at_desk, name, name_bytes)
    has_queue, queue_id = int32_of(request, QUEUE_ID)
    if NONE in (group_id, topic_id) or not has_queue:
        return group_id, topic_id, NONE
    group, topic = groups.group_at(at_desk, group_id), topics.topic_at(at_desk, topic_id)
    if (
        load_native_i64(group + groups.FLAGS) & groups.READS == 0
        or load_native_i64(topic + topics.PERMISSION) & PERM_READ == 0
        or queue_id < 0
        or queue_id >= load_native_i64(topic + topics.READ_QUEUE_COUNT)
    ):
        return group_id, topic_id, NONE
    return group_id, topic_id, find_queue(load_native_i64(at_desk + desk.QUEUES), topic_id, queue_id)


@kernel
def _requested_tags(at_desk: int, request: int) -> tuple[int, int]:
    """Address and number of the tags that a pull itself asks for; the number is UNREADABLE where Python must say."""
    kind, kind_bytes = field(request, EXPRESSION_TYPE)
    if kind_bytes > 0 and (kind_bytes != 3 or load_native_i32(kind) & 0xFFFFFF != _TAG):
        return NONE, UNREADABLE
    tags = load_native_i64(load_native_i64(at_desk + desk.READING) + reading.TAGS)
    expression, expression_bytes = field(request, SUBSCRIPTION)
    return tags, parse_tags(expression, expression_bytes, tags)


@kernel
def _is_number_or_none(request: int, field_id: int) -> bool:
    """Whether a field that need not be there is absent, empty, or a number of 32 bits."""
    _, size_bytes = field(request, field_id)
    is_number, _ = int32_of(request, field_id)
    return size_bytes <= 0 or is_number


@kernel
def _code(found: int, begin: int) -> int:
    """The response code for what a read from an offset on came to."""
    status = load_native_i64(found + reading.STATUS)
    if status == reading.FOUND:
        return SUCCESS
    if status in (reading.NO_MATCHED_MESSAGE, reading.MESSAGE_WAS_REMOVING):
        return PULL_RETRY_IMMEDIATELY
    if status == reading.OFFSET_OVERFLOW_ONE or (status == reading.NO_MESSAGE_IN_QUEUE and begin == 0):
        return PULL_NOT_FOUND
    return PULL_OFFSET_MOVED


@kernel
def _is_awaited(found: int, begin: int, has_waited: bool) -> bool:
    """Whether a client that may wait should, rather than be told that it found nothing."""
    if load_native_i64(found + reading.STATUS) == reading.NO_MATCHED_MESSAGE:
        return has_waited  # a first pass may be far behind: its client is told how far it got
    return _code(found, begin) == PULL_NOT_FOUND


@kernel
def _answer(at_desk: int, row: int, asked: Pull, begin: int) -> bool:
    """Answer with what was found; False where no frame can hold it, or no memory."""
    found = load_native_i64(at_desk + desk.READING)
    size_bytes = load_native_i64(found + reading.SIZE_BYTES)
    if size_bytes > FRAME_BYTES_MAX - PULL_HEAD_ROOM_BYTES:
        return False
    target = reserve(row, PULL_HEAD_ROOM_BYTES + size_bytes)
    if target == connections.NONE:
        return False
    status = load_native_i64(found + reading.STATUS)
    code = _code(found, begin)
    if status == reading.OFFSET_OVERFLOW_ONE and begin > asked.queue_offset:
        # Messages came while the pull waited, and none of them matched.
        status = reading.NO_MATCHED_MESSAGE
        code = PULL_RETRY_IMMEDIATELY
    flags = (
        load_native_i64(topics.topic_at(at_desk, asked.topic_id) + topics.TOPIC_SYS_FLAG),
        load_native_i64(groups.group_at(at_desk, asked.group_id) + groups.GROUP_SYS_FLAG),
    )
    request = load_native_i64(at_desk + desk.REQUEST)
    head_bytes = put_pull_head(target, request, code, status, found, flags)
    copy_found(found, target + head_bytes)
    extend(at_desk + desk.FIRST_DIRTY, row, head_bytes + size_bytes)
    return True


@kernel
def _begin_to_wait(at_desk: int, row: int, asked: Pull, frame: int, frame_bytes: int) -> bool:
    """Let a pull wait, in a copy that does not ask to commit; False where there is no room, or it cannot be changed."""
    request = load_native_i64(at_desk + desk.REQUEST)
    found = load_native_i64(at_desk + desk.READING)
    flag, flag_bytes = field(request, SYS_FLAG)
    suspend, suspend_bytes = field(request, SUSPEND_TIMEOUT_MS)
    end = frame + frame_bytes
    if frame_bytes > _FRAME_BYTES_MAX or not (frame < flag < end and frame < suspend < end):
        return False
    wait = Wait(
        asked.slot,
        load_native_i64(found + reading.NEXT_OFFSET),
        load_native_i64(at_desk + desk.NOW_MS) + asked.wait_ms,
        asked.tags,
        asked.tag_count,
    )
    waiting = park(at_desk, row, wait, frame, frame_bytes)
    if waiting == 0:
        return False
    if asked.sys_flag & PULL_COMMIT_OFFSET:
        last = load_native_i64(waiting + parked_rows.FRAME) + flag + flag_bytes - 1 - frame
        store_u8(last, load_u8(last) - 1)  # the number is odd, and so is its last digit
    if load_native_i64(found + reading.WAIT_MS) == NONE:
        store_native_i64(waiting + parked_rows.SUSPEND_AT, suspend - frame)
        store_native_i64(waiting + parked_rows.SUSPEND_BYTES, suspend_bytes)
    return True


@kernel
def _most_of(digits: int) -> int:
    """The largest number of so many digits, up to a bound beyond any wait."""
    most = 9
    while digits > 1 and most < SUSPEND_MS_MAX:
        most = 10 * most + 9
        digits -= 1
    return most
