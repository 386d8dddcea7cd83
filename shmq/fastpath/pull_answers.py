"""Kernels: the answers to pulls and to requests about offsets: twin of what `broker/` replies, byte for byte."""

from typing import Final

import numpy as np

from shmq.fastpath import reading
from shmq.fastpath.answers import FIELD_ROOM_BYTES, ROOM_BYTES, Answer, begin, finish, put_number
from shmq.fastpath.request import BINARY, ENCODING, OPAQUE
from shmq.jit import kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64
from shmq.store.read import ReadStatus
from shmq.wire.codes import ResponseCode

SUCCESS: Final = int(ResponseCode.SUCCESS)
PULL_NOT_FOUND: Final = int(ResponseCode.PULL_NOT_FOUND)
PULL_RETRY_IMMEDIATELY: Final = int(ResponseCode.PULL_RETRY_IMMEDIATELY)
PULL_OFFSET_MOVED: Final = int(ResponseCode.PULL_OFFSET_MOVED)

_REMARK_BYTES: Final = 32
_REMARKS: Final = np.frombuffer(
    b"".join(status.name.encode().ljust(_REMARK_BYTES, b"\0") for status in ReadStatus), dtype=np.uint8
)
_REMARK_SIZES: Final = np.array([len(status.name) for status in ReadStatus], dtype=np.int64)

_BROKER_ID: Final = np.frombuffer(b"suggestWhichBrokerId", dtype=np.uint8)
_NEXT: Final = np.frombuffer(b"nextBeginOffset", dtype=np.uint8)
_MIN: Final = np.frombuffer(b"minOffset", dtype=np.uint8)
_MAX: Final = np.frombuffer(b"maxOffset", dtype=np.uint8)
_TOPIC_FLAG: Final = np.frombuffer(b"topicSysFlag", dtype=np.uint8)
_GROUP_FLAG: Final = np.frombuffer(b"groupSysFlag", dtype=np.uint8)
_OFFSET: Final = np.frombuffer(b"offset", dtype=np.uint8)
_MASTER_ID: Final = 0

PULL_HEAD_ROOM_BYTES: Final = ROOM_BYTES + _REMARK_BYTES + 6 * FIELD_ROOM_BYTES + 128
"""Room for the head of any answer to a pull."""
HEAD_ROOM_BYTES: Final = ROOM_BYTES + FIELD_ROOM_BYTES + 32
"""Room for any answer about an offset."""


@kernel
def put_pull_head(
    frame: int, request: int, code: int, status: int, found: int, topic_and_group_flags: tuple[int, int]
) -> int:
    """Write the head of the answer to a pull, whose messages go behind it; return its length.

    Args:
        frame: where it goes.
        request: the pull's.
        code: the response code.
        status: what the read came to; its name is the remark.
        found: the read's block (`reading.py`).
        topic_and_group_flags: the topicSysFlag and the groupSysFlag.
    """
    encoding = load_native_i64(request + ENCODING)
    answer = Answer(
        encoding,
        code,
        load_native_i64(request + OPAQUE),
        address_of(_REMARKS) + _REMARK_BYTES * status,
        int(_REMARK_SIZES[status]),
        True,
    )
    next_offset = load_native_i64(found + reading.NEXT_OFFSET)
    min_offset = load_native_i64(found + reading.MIN_OFFSET)
    max_offset = load_native_i64(found + reading.MAX_OFFSET)
    topic_flag, group_flag = topic_and_group_flags
    at = begin(frame, answer)
    if encoding == BINARY:
        at = put_number(at, encoding, address_of(_BROKER_ID), len(_BROKER_ID), _MASTER_ID)
        at = put_number(at, encoding, address_of(_NEXT), len(_NEXT), next_offset)
        at = put_number(at, encoding, address_of(_MIN), len(_MIN), min_offset)
        at = put_number(at, encoding, address_of(_MAX), len(_MAX), max_offset)
        at = put_number(at, encoding, address_of(_TOPIC_FLAG), len(_TOPIC_FLAG), topic_flag)
        at = put_number(at, encoding, address_of(_GROUP_FLAG), len(_GROUP_FLAG), group_flag)
    else:
        at = put_number(at, encoding, address_of(_GROUP_FLAG), len(_GROUP_FLAG), group_flag)
        at = put_number(at, encoding, address_of(_MAX), len(_MAX), max_offset)
        at = put_number(at, encoding, address_of(_MIN), len(_MIN), min_offset)
        at = put_number(at, encoding, address_of(_NEXT), len(_NEXT), next_offset)
        at = put_number(at, encoding, address_of(_BROKER_ID), len(_BROKER_ID), _MASTER_ID)
        at = put_number(at, encoding, address_of(_TOPIC_FLAG), len(_TOPIC_FLAG), topic_flag)
    return finish(frame, at, answer, load_native_i64(found + reading.SIZE_BYTES))


@kernel
def put_offset_answer(frame: int, request: int, offset: int) -> int:
    """Write the answer that holds a committed offset; return its length."""
    encoding = load_native_i64(request + ENCODING)
    answer = Answer(encoding, SUCCESS, load_native_i64(request + OPAQUE), 0, 0, True)
    at = put_number(begin(frame, answer), encoding, address_of(_OFFSET), len(_OFFSET), offset)
    return finish(frame, at, answer, 0)


@kernel
def put_bare_answer(frame: int, request: int) -> int:
    """Write the answer that says SUCCESS and nothing else; return its length."""
    answer = Answer(
        load_native_i64(request + ENCODING), SUCCESS, load_native_i64(request + OPAQUE), 0, 0, False
    )
    return finish(frame, begin(frame, answer), answer, 0)
