"""Kernels: what a send's producer is told: twin of `broker.sending`'s answer, in both encodings.

That it is stored, with the ids of its messages; or why the writer refused it, which Python has written beforehand
(`fastpath/refusals.py`) but for the request's number.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.fastpath import connections, desk, pending
from shmq.fastpath.answers import Answer, begin, close_text, finish, open_text, put_number, put_text
from shmq.fastpath.connections import OPEN, OVERFLOWED, extend, has_flag, reserve, set_flag
from shmq.fastpath.digits import put_decimal, put_hex
from shmq.fastpath.pending import IS_BINARY, IS_ONEWAY, KEY_BYTES_MAX
from shmq.fastpath.request import ABSENT, BINARY, JSON
from shmq.jit import kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i32, load_native_i64, store_i32, store_i64, store_u8
from shmq.store.position import NONE
from shmq.wire.send_headers import DEFAULT_REGION, REGION_FIELD, TRACE_FIELD

SUCCESS: Final = 0
FLUSH_DISK_TIMEOUT: Final = 10

REFUSAL_WORDS: Final = 4
"""Of a refusal: address and length of what stands before the request's number, and of what stands behind it."""
STATUS_COUNT: Final = 6
STATUS_OTHER: Final = 5

_PREFIX_BYTES: Final = 8
_ROOM_BYTES: Final = 512 + KEY_BYTES_MAX
_POSITION_BYTES: Final = 8
_ID_BYTES_MAX: Final = 2 * (20 + _POSITION_BYTES) + 1
_COMMA: Final = ord(",")


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_REGION_NAME: Final = _text(REGION_FIELD)
_REGION: Final = _text(DEFAULT_REGION)
_TRACE_NAME: Final = _text(TRACE_FIELD)
_TRACE: Final = _text("true")
_MESSAGE_ID: Final = _text("msgId")
_QUEUE_ID: Final = _text("queueId")
_QUEUE_OFFSET: Final = _text("queueOffset")
_TRANSACTION_ID: Final = _text("transactionId")


@kernel
def answer_stored(at_desk: int, waiting: int, code: int) -> int:
    """Let the answer to a completed submission wait for its peer; return 1, or 0 where nobody wants it."""
    row = load_native_i64(waiting + pending.ROW)
    if not _is_wanted(waiting, row):
        return 0
    count = load_native_i64(waiting + pending.RECORD_COUNT)
    frame = reserve(row, _ROOM_BYTES + _ID_BYTES_MAX * count)
    if frame == NONE:
        set_flag(row, OVERFLOWED)
        return 0
    encoding = BINARY if load_native_i64(waiting + pending.FLAGS) & IS_BINARY else JSON
    answer = Answer(encoding, code, load_native_i64(waiting + pending.OPAQUE), 0, 0, True)
    at = begin(frame, answer)
    if encoding == JSON:
        at = _put_broker(at, encoding)
    at = _put_ids(at, encoding, row, waiting, count)
    at = put_number(
        at, encoding, address_of(_QUEUE_ID), len(_QUEUE_ID), load_native_i64(waiting + pending.QUEUE_ID)
    )
    queue_offset = load_native_i64(waiting + pending.QUEUE_OFFSET)
    at = put_number(at, encoding, address_of(_QUEUE_OFFSET), len(_QUEUE_OFFSET), queue_offset)
    key_bytes = load_native_i64(waiting + pending.KEY_BYTES)
    if key_bytes != ABSENT:
        name = address_of(_TRANSACTION_ID)
        at = put_text(at, encoding, name, len(_TRANSACTION_ID), waiting + pending.KEY, key_bytes)
    if encoding == BINARY:
        at = _put_broker(at, encoding)
    extend(at_desk + desk.FIRST_DIRTY, row, finish(frame, at, answer, 0))
    return 1


@kernel
def answer_refused(at_desk: int, waiting: int, status: int) -> int:
    """As answer_stored, for a submission that the writer refused."""
    row = load_native_i64(waiting + pending.ROW)
    if not _is_wanted(waiting, row):
        return 0
    encoding = BINARY if load_native_i64(waiting + pending.FLAGS) & IS_BINARY else JSON
    if status < 0 or status >= STATUS_COUNT:
        status = STATUS_OTHER
    refusal = load_native_i64(at_desk + desk.REFUSALS) + 8 * REFUSAL_WORDS * (2 * status + encoding)
    before_bytes = load_native_i64(refusal + 8)
    behind_bytes = load_native_i64(refusal + 24)
    frame = reserve(row, _ROOM_BYTES + before_bytes + behind_bytes)
    if frame == NONE:
        set_flag(row, OVERFLOWED)
        return 0
    opaque = load_native_i64(waiting + pending.OPAQUE)
    at = frame + _PREFIX_BYTES
    copy(at, load_native_i64(refusal), before_bytes)
    at += before_bytes
    if encoding == BINARY:
        store_i32(at, opaque)
        at += 4
    else:
        at = put_decimal(at, opaque)
    copy(at, load_native_i64(refusal + 16), behind_bytes)
    header_bytes = at + behind_bytes - frame - _PREFIX_BYTES
    store_i32(frame, 4 + header_bytes)
    store_i32(frame + 4, encoding << 24 | header_bytes)
    extend(at_desk + desk.FIRST_DIRTY, row, _PREFIX_BYTES + header_bytes)
    return 1


@kernel
def _is_wanted(waiting: int, row: int) -> bool:
    """Whether the connection is still the one that asked, and wants an answer."""
    return (
        load_native_i64(row + connections.ID) == load_native_i64(waiting + pending.CONNECTION_ID)
        and has_flag(row, OPEN)
        and load_native_i64(waiting + pending.FLAGS) & IS_ONEWAY == 0
    )


@kernel
def _put_broker(at: int, encoding: int) -> int:
    """Write the two fields that every answer to a send has; return where the next one goes."""
    at = put_text(
        at, encoding, address_of(_REGION_NAME), len(_REGION_NAME), address_of(_REGION), len(_REGION)
    )
    return put_text(at, encoding, address_of(_TRACE_NAME), len(_TRACE_NAME), address_of(_TRACE), len(_TRACE))


@kernel
def _put_ids(at: int, encoding: int, row: int, waiting: int, count: int) -> int:
    """Write the messages' ids, joined by commas; return where the next field goes."""
    host_bytes = load_native_i32(row + connections.STORE_HOST_BYTES)
    id_bytes = 2 * (host_bytes + _POSITION_BYTES)
    text = open_text(at, encoding, address_of(_MESSAGE_ID), len(_MESSAGE_ID))
    position = load_native_i64(waiting + pending.POSITION)
    sizes = load_native_i64(waiting + pending.SIZES)
    end = text
    for index in range(count):
        # The id's bytes are put together where its digits end, and so read before they are written over.
        place = end + id_bytes
        put_hex(end, row + connections.STORE_HOST, host_bytes)
        store_i64(place, position)
        put_hex(end + 2 * host_bytes, place, _POSITION_BYTES)
        end = place
        if index + 1 < count:
            store_u8(end, _COMMA)
            end += 1
            position += load_native_i32(sizes + 4 * index)
    return close_text(text, encoding, end - text)
