"""Kernels: the finished record of a sent message, where the writer will find it: twin of `record.encode_into`."""

from typing import Final, NamedTuple

from shmq.fastpath import connections
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.crc32 import crc32
from shmq.memory.endian import load_native_i32, store_i16, store_i32, store_i64, store_u8
from shmq.store.record import (
    BODY_CRC,
    BORN_HOST,
    BORN_HOST_V6,
    BORN_TIMESTAMP,
    FLAG,
    HEAD_BYTES,
    MAGIC,
    MAGIC_V1,
    PHYSICAL_OFFSET,
    QUEUE_ID,
    QUEUE_OFFSET,
    STORE_HOST_V6,
    SYS_FLAG,
    TOTAL_SIZE,
)

_V4_HOST_BYTES: Final = 8
_HOST_BYTES_MAX: Final = 20
_MASK_31: Final = 0x7FFF_FFFF


class Envelope(NamedTuple):
    """What all messages of one send share.

    Attributes:
        row: the connection, for both hosts.
        topic: address of its name, of at most 127 bytes.
        topic_bytes: length of its name.
        queue_id: the queue's.
        sys_flag: but for the bits of the hosts.
        born_timestamp_ms: the client's clock.
        reconsume_times: as the client says.
    """

    row: int
    topic: int
    topic_bytes: int
    queue_id: int
    sys_flag: int
    born_timestamp_ms: int
    reconsume_times: int


@kernel
def record_bytes(envelope: Envelope, body_bytes: int, properties_bytes: int) -> int:
    """How long the record of a message is."""
    hosts = load_native_i32(envelope.row + connections.BORN_HOST_BYTES) + load_native_i32(
        envelope.row + connections.STORE_HOST_BYTES
    )
    return (
        HEAD_BYTES + hosts - 2 * _V4_HOST_BYTES + body_bytes + 1 + envelope.topic_bytes + 2 + properties_bytes
    )


@kernel
def put_record(
    record: int, envelope: Envelope, flag: int, body: int, body_bytes: int, properties_bytes: int
) -> int:
    """Write a record but for its properties; return where these go."""
    row = envelope.row
    born_bytes = load_native_i32(row + connections.BORN_HOST_BYTES)
    store_bytes = load_native_i32(row + connections.STORE_HOST_BYTES)
    sys_flag = envelope.sys_flag & ~(BORN_HOST_V6 | STORE_HOST_V6)
    if born_bytes != _V4_HOST_BYTES:
        sys_flag |= BORN_HOST_V6
    if store_bytes != _V4_HOST_BYTES:
        sys_flag |= STORE_HOST_V6
    store_i32(record + TOTAL_SIZE, record_bytes(envelope, body_bytes, properties_bytes))
    store_i32(record + MAGIC, MAGIC_V1)
    store_i32(record + BODY_CRC, crc32(body, body_bytes) & _MASK_31)
    store_i32(record + QUEUE_ID, envelope.queue_id)
    store_i32(record + FLAG, flag)
    store_i64(record + QUEUE_OFFSET, 0)
    store_i64(record + PHYSICAL_OFFSET, 0)
    store_i32(record + SYS_FLAG, sys_flag)
    store_i64(record + BORN_TIMESTAMP, envelope.born_timestamp_ms)
    copy(record + BORN_HOST, row + connections.BORN_HOST, _HOST_BYTES_MAX)  # what is too much is written over
    at = record + BORN_HOST + born_bytes
    store_i64(at, 0)
    copy(at + 8, row + connections.STORE_HOST, _HOST_BYTES_MAX)
    at += 8 + store_bytes
    store_i32(at, envelope.reconsume_times)
    store_i64(at + 4, 0)
    store_i32(at + 12, body_bytes)
    copy(at + 16, body, body_bytes)
    at += 16 + body_bytes
    store_u8(at, envelope.topic_bytes)
    copy(at + 1, envelope.topic, envelope.topic_bytes)
    at += 1 + envelope.topic_bytes
    store_i16(at, properties_bytes)
    return at + 2
