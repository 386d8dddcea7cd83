"""One message in the commit log.

    offset  size  field              meaning
    ------  ----  -----------------  ---------------------------------------------------------
         0     4  total_size         length of the whole record
         4     4  magic              MAGIC_V1; MAGIC_V2 with a topic of more than 127 bytes
         8     4  body_crc           CRC-32 of the body as stored, its top bit cleared
        12     4  queue_id
        16     4  flag               the client's, opaque
        20     8  queue_offset       number in its queue; 0 while prepared or rolled back
        28     8  position           where this record lies in the log
        36     4  sys_flag           bits below
        40     8  born_timestamp     the client's clock, ms
        48     8  born_host          4 bytes of address, 4 of port; an IPv6 host takes 20
        56     8  store_timestamp    the broker's clock, ms
        64     8  store_host         as born_host
        72     4  reconsume_times
        76     8  prepared_position  where the half message lies, or 0
        84     4  body_size          body, topic and properties follow, each behind its size
        88

Big-endian: RocketMQ's record, byte for byte. Each IPv6 host moves what follows by 12. Behind the head come the
body, the topic behind 1 byte of size (MAGIC_V2: 2), the properties behind 2.

A network worker or colocated producer encodes all but queue_offset, position and store_timestamp, which the
writer patches in before it stores total_size, last; readers see a record only below a watermark. A crash during
the copy leaves a total_size of 0, which no reader takes for a record. A file's unused end begins with its size
and BLANK_MAGIC.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.jit import entry, kernel
from shmq.memory.block import address_of
from shmq.memory.crc32 import crc32
from shmq.memory.endian import load_i16, load_i32, load_i64, load_u8, store_i64
from shmq.memory.layout import layout, offset_of
from shmq.store import properties
from shmq.store.host import Host

LAYOUT: Final = layout(
    88,
    total_size=(0, ">i4"),
    magic=(4, ">i4"),
    body_crc=(8, ">i4"),
    queue_id=(12, ">i4"),
    flag=(16, ">i4"),
    queue_offset=(20, ">i8"),
    position=(28, ">i8"),
    sys_flag=(36, ">i4"),
    born_timestamp=(40, ">i8"),
    born_host=(48, ">i8"),
    store_timestamp=(56, ">i8"),
    store_host=(64, ">i8"),
    reconsume_times=(72, ">i4"),
    prepared_position=(76, ">i8"),
    body_size=(84, ">i4"),
)

TOTAL_SIZE: Final = offset_of(LAYOUT, "total_size")
MAGIC: Final = offset_of(LAYOUT, "magic")
BODY_CRC: Final = offset_of(LAYOUT, "body_crc")
QUEUE_ID: Final = offset_of(LAYOUT, "queue_id")
FLAG: Final = offset_of(LAYOUT, "flag")
QUEUE_OFFSET: Final = offset_of(LAYOUT, "queue_offset")
PHYSICAL_OFFSET: Final = offset_of(LAYOUT, "position")
SYS_FLAG: Final = offset_of(LAYOUT, "sys_flag")
BORN_TIMESTAMP: Final = offset_of(LAYOUT, "born_timestamp")
BORN_HOST: Final = offset_of(LAYOUT, "born_host")
# The rest is where it says only behind an IPv4 born_host, from RECONSUME_TIMES on two IPv4 hosts.
STORE_TIMESTAMP: Final = offset_of(LAYOUT, "store_timestamp")
STORE_HOST: Final = offset_of(LAYOUT, "store_host")
RECONSUME_TIMES: Final = offset_of(LAYOUT, "reconsume_times")
PREPARED_POSITION: Final = offset_of(LAYOUT, "prepared_position")
BODY_SIZE: Final = offset_of(LAYOUT, "body_size")
HEAD_BYTES: Final = LAYOUT.itemsize
V6_EXTRA_BYTES: Final = 12

MAGIC_V1: Final = 0xDAA320A7 - (1 << 32)
MAGIC_V2: Final = 0xDAA320AB - (1 << 32)
BLANK_MAGIC: Final = 0xCBD43194 - (1 << 32)
BLANK_BYTES_MIN: Final = 8
"""So much stays free behind the last record of a file, for the blank's size and magic."""

TRANSACTION_MASK: Final = 0xC
TRANSACTION_NONE: Final = 0x0
TRANSACTION_COMMIT: Final = 0x8
TRANSACTION_ROLLBACK: Final = 0xC
BORN_HOST_V6: Final = 0x10
STORE_HOST_V6: Final = 0x20

PROPERTIES_BYTES_MAX: Final = 0x7FFF
TOPIC_BYTES_V1_MAX: Final = 127

BLANK: Final = 0
INVALID: Final = -1

_MASK_31: Final = 0x7FFF_FFFF
_TAGS: Final = np.frombuffer(b"TAGS", dtype=np.uint8)
_DELAY: Final = np.frombuffer(b"DELAY", dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A message to be stored: everything but what only the writer knows."""

    topic: bytes
    queue_id: int
    flag: int
    sys_flag: int
    born_timestamp_ms: int
    born_host: Host
    store_host: Host
    reconsume_times: int
    prepared_position: int
    body: bytes | memoryview
    properties: bytes


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A message of the log, decoded; its body is a slice of the buffer it was read from."""

    total_size: int
    magic: int
    body_crc: int
    queue_id: int
    flag: int
    queue_offset: int
    position: int
    sys_flag: int
    born_timestamp_ms: int
    born_host: Host
    store_timestamp_ms: int
    store_host: Host
    reconsume_times: int
    prepared_position: int
    body: memoryview
    topic: bytes
    properties: bytes


class Parts(NamedTuple):
    """Where the parts of a record lie, from its beginning; `size` is what they add up to, or INVALID.

    Where it is INVALID, or not the record's total size, the others mean nothing.
    """

    size: int
    sys_flag: int
    topic: int
    topic_bytes: int
    properties: int
    properties_bytes: int


def size_of(record: NewRecord) -> int:
    """The total size that a record will have."""
    hosts_bytes = len(record.born_host.address) + len(record.store_host.address) - 8
    topic_bytes = len(record.topic)
    topic_size_bytes = 2 if topic_bytes > TOPIC_BYTES_V1_MAX else 1
    body_bytes = memoryview(record.body).nbytes
    return HEAD_BYTES + hosts_bytes + body_bytes + topic_size_bytes + topic_bytes + 2 + len(record.properties)


def encode_into(record: NewRecord, buffer: memoryview, at: int) -> int:
    """Write a record, zeros where the writer will patch; return its size."""
    total_size = size_of(record)
    version_2 = len(record.topic) > TOPIC_BYTES_V1_MAX
    hosts_v6 = (BORN_HOST_V6 if len(record.born_host.address) == 16 else 0) | (
        STORE_HOST_V6 if len(record.store_host.address) == 16 else 0
    )
    body_bytes = memoryview(record.body).nbytes
    head = struct.pack(
        f">iiIiiqqiq{len(record.born_host.address)}siq{len(record.store_host.address)}siiqi",
        *(total_size, MAGIC_V2 if version_2 else MAGIC_V1, zlib.crc32(record.body) & _MASK_31),
        *(record.queue_id, record.flag, 0, 0),
        (record.sys_flag & ~(BORN_HOST_V6 | STORE_HOST_V6)) | hosts_v6,
        *(record.born_timestamp_ms, *record.born_host, 0, *record.store_host),
        *(record.reconsume_times, record.prepared_position, body_bytes),
    )
    topic_size = struct.pack(">h" if version_2 else ">b", len(record.topic))
    properties_size = struct.pack(">h", len(record.properties))
    buffer[at : at + total_size] = b"".join(
        (head, record.body, topic_size, record.topic, properties_size, record.properties)
    )
    return total_size


def decode(buffer: memoryview, at: int = 0) -> StoredRecord:
    """Read a record.

    Raises:
        StoreError: there is none at this place.
    """
    try:
        return _decode(buffer, at)
    except struct.error as error:
        raise StoreError(f"a record is cut off: {error}") from error


@entry
def verify(address: int, readable_bytes: int, check_crc: bool) -> int:
    """Judge what lies here, reading nothing beyond `readable_bytes`.

    Returns:
        The record's total size; BLANK where the file's unused end begins; INVALID; or `disagreement(n)` where
        the head is a record's with a total size of n, and its parts add up to another.
    """
    if readable_bytes < BLANK_BYTES_MIN or load_i32(address + TOTAL_SIZE) > readable_bytes:
        return INVALID
    if load_i32(address + MAGIC) == BLANK_MAGIC:
        return BLANK
    by_parts = parts_of(address, readable_bytes).size
    if by_parts == INVALID or (check_crc and not _is_body_whole(address)):
        return INVALID
    total_size = load_i32(address + TOTAL_SIZE)
    return total_size if by_parts == total_size else disagreement(total_size)


@kernel
def disagreement(total_size: int) -> int:
    """What `verify` answers for a head that claims this size wrongly; its own inverse."""
    return -total_size - 1


@kernel
def is_dispatched(sys_flag: int) -> bool:
    """Whether a record with these flags has a place in its queue: ordinary and committed ones have."""
    kind = sys_flag & TRANSACTION_MASK
    return kind in (TRANSACTION_NONE, TRANSACTION_COMMIT)


@kernel
def store_timestamp_at(address: int) -> int:
    """The offset of the store timestamp in this record."""
    return STORE_TIMESTAMP + (V6_EXTRA_BYTES if load_i32(address + SYS_FLAG) & BORN_HOST_V6 else 0)


@entry
def store_timestamp(address: int) -> int:
    """When this record was stored, ms."""
    return load_i64(address + store_timestamp_at(address))


@kernel
def body_at(address: int) -> int:
    """The offset of the body in this record; its size lies in the 4 bytes before."""
    sys_flag = load_i32(address + SYS_FLAG)
    offset = HEAD_BYTES
    if sys_flag & BORN_HOST_V6:
        offset += V6_EXTRA_BYTES
    if sys_flag & STORE_HOST_V6:
        offset += V6_EXTRA_BYTES
    return offset


@entry
def topic_at(address: int) -> tuple[int, int]:
    """Offset and size of the topic in this verified record."""
    body = body_at(address)
    at = body + max(load_i32(address + body - 4), 0)
    if load_i32(address + MAGIC) == MAGIC_V2:
        return at + 2, load_i16(address + at)
    return at + 1, load_u8(address + at)


@kernel
def properties_at(address: int) -> tuple[int, int]:
    """Offset and size of the properties in this verified record."""
    topic, topic_bytes = topic_at(address)
    at = topic + topic_bytes
    return at + 2, max(load_i16(address + at), 0)


@kernel
def property_at(address: int, name: int, name_bytes: int) -> tuple[int, int]:
    """Offset and size of a property's value in this verified record, or (NONE, 0)."""
    at, size_bytes = properties_at(address)
    value, value_bytes = properties.find(address + at, size_bytes, name, name_bytes)
    if value < 0:
        return value, 0
    return at + value, value_bytes


@kernel
def tag_hash(address: int) -> int:
    """Java's hash of the TAGS of this verified record; 0 without."""
    value, value_bytes = property_at(address, address_of(_TAGS), 4)
    return properties.java_hash(address + value, value_bytes) if value >= 0 else 0


@kernel
def delay_level(address: int) -> int:
    """The DELAY of this verified record; 0 where there is none, or no positive number."""
    value, value_bytes = property_at(address, address_of(_DELAY), 5)
    if value < 0:
        return 0
    return max(properties.decimal(address + value, value_bytes), 0)


@kernel
def patch(address: int, queue_offset: int, position: int, store_timestamp_ms: int) -> None:
    """Write what only the writer knows into an encoded record."""
    store_i64(address + QUEUE_OFFSET, queue_offset)
    store_i64(address + PHYSICAL_OFFSET, position)
    store_i64(address + store_timestamp_at(address), store_timestamp_ms)


@kernel
def parts_of(address: int, readable_bytes: int) -> Parts:
    """Add the sizes of head, body, topic and properties up, reading nothing beyond `readable_bytes`.

    The record's total size must be no more than that.
    """
    none = Parts(INVALID, 0, 0, 0, 0, 0)
    total_size = load_i32(address + TOTAL_SIZE)
    magic = load_i32(address + MAGIC)
    # What does not even hold its own head cannot be skipped by its size either.
    if magic not in (MAGIC_V1, MAGIC_V2) or total_size < HEAD_BYTES + 3:
        return none
    sys_flag = load_i32(address + SYS_FLAG)
    body = HEAD_BYTES
    if sys_flag & (BORN_HOST_V6 | STORE_HOST_V6):
        body = body_at(address)
    if body > total_size:
        return none
    body_bytes = max(load_i32(address + body - 4), 0)
    topic = body + body_bytes + (2 if magic == MAGIC_V2 else 1)
    if body_bytes > total_size or topic > readable_bytes:
        return none
    topic_bytes = load_i16(address + topic - 2) if magic == MAGIC_V2 else load_u8(address + topic - 1)
    # Java reads these sizes as signed: a byte above 127 is negative to it.
    if topic_bytes < 0 or (magic == MAGIC_V1 and topic_bytes > TOPIC_BYTES_V1_MAX):
        return none
    properties = topic + topic_bytes + 2
    if properties > readable_bytes:
        return none
    properties_bytes = max(load_i16(address + properties - 2), 0)
    return Parts(properties + properties_bytes, sys_flag, topic, topic_bytes, properties, properties_bytes)


@kernel
def _is_body_whole(address: int) -> bool:
    body = body_at(address)
    body_bytes = load_i32(address + body - 4)
    return body_bytes <= 0 or (crc32(address + body, body_bytes) & _MASK_31) == load_i32(address + BODY_CRC)


def _decode(buffer: memoryview, at: int) -> StoredRecord:
    total_size, magic, crc, queue_id, flag, queue_offset, position, sys_flag, born_ms = struct.unpack_from(
        ">iiiiiqqiq", buffer, at
    )
    if magic not in (MAGIC_V1, MAGIC_V2):
        raise StoreError(f"no record begins with the magic {magic & 0xFFFFFFFF:08x}")
    born_bytes = 16 if sys_flag & BORN_HOST_V6 else 4
    store_bytes = 16 if sys_flag & STORE_HOST_V6 else 4
    rest = struct.Struct(f">{born_bytes}siq{store_bytes}siiqi")
    born, born_port, store_ms, store, store_port, reconsume_times, prepared_position, body_bytes = (
        rest.unpack_from(buffer, at + BORN_HOST)
    )
    end = at + BORN_HOST + rest.size
    body = buffer[end : end + max(body_bytes, 0)]
    topic, end = _sized(buffer, end + len(body), ">h" if magic == MAGIC_V2 else ">b")
    text, end = _sized(buffer, end, ">h")
    if end - at != total_size:
        raise StoreError(f"a record of {total_size} bytes holds {end - at}")
    return StoredRecord(
        total_size=total_size,
        magic=magic,
        body_crc=crc,
        queue_id=queue_id,
        flag=flag,
        queue_offset=queue_offset,
        position=position,
        sys_flag=sys_flag,
        born_timestamp_ms=born_ms,
        born_host=Host(born, born_port),
        store_timestamp_ms=store_ms,
        store_host=Host(store, store_port),
        reconsume_times=reconsume_times,
        prepared_position=prepared_position,
        body=body,
        topic=topic,
        properties=text,
    )


def _sized(buffer: memoryview, at: int, size_format: str) -> tuple[bytes, int]:
    (size_bytes,) = struct.unpack_from(size_format, buffer, at)
    begin = at + struct.calcsize(size_format)
    end = begin + max(size_bytes, 0)
    return bytes(buffer[begin:end]), end
