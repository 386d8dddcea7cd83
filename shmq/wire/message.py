"""Messages as clients receive them, and the names by which they are found again.

    offset  size     field
    ------  -------  ----------------------------------------------------------
         0        4  size of all
         4        4  magic: V1, or V2 for topics longer than 127 bytes
         8        4  CRC-32 of the body as stored, top bit cleared
        12        4  queue id
        16        4  flag
        20        8  queue offset
        28        8  position in the log
        36        4  sysFlag
        40        8  born, ms
        48  8 or 20  born host: address (16 bytes if sysFlag says so), port
         +        8  stored, ms
         +  8 or 20  store host
         +        4  reconsume times
         +        8  prepared transaction offset
         +        4  length of the body, and the body
         +   1 or 2  length of the topic (2 in V2), and the topic
         +        2  length of the properties, and the properties

Big-endian. The store writes these bytes; here they are read, for clients. A body that is compressed is left so.
"""

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from shmq.errors import PeerError, RequestError
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import BORN_HOST_V6, STORE_HOST_V6

MAGIC_V1: Final = 0xDAA320A7
MAGIC_V2: Final = 0xDAA320AB

NAME_END: Final = "\x01"
PROPERTY_END: Final = "\x02"

_HEAD: Final = struct.Struct(">iIIiiqqiq")
_PORT: Final = struct.Struct(">i")
_STORED: Final = struct.Struct(">q")
_TAIL: Final = struct.Struct(">iqi")
_LENGTH_V1: Final = struct.Struct(">B")
_LENGTH_V2: Final = struct.Struct(">h")
_ID_TAIL: Final = struct.Struct(">iq")
_UNIQUE_TAIL: Final = struct.Struct(">HIIH")
_ADDRESS_BYTES: Final = {32: 4, 56: 16}  # by the length of an offset id


class Host(NamedTuple):
    """An address of the network; the address as bytes, 4 or 16."""

    address: bytes
    port: int

    def __str__(self) -> str:
        return f"{ipaddress.ip_address(self.address)}:{self.port}"


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One stored message."""

    topic: str
    body: bytes
    properties: dict[str, str]
    queue_id: int
    queue_offset: int
    position: int
    size_bytes: int
    flag: int
    sys_flag: int
    body_crc32: int
    born_timestamp_ms: int
    born_host: Host
    store_timestamp_ms: int
    store_host: Host
    reconsume_times: int
    prepared_transaction_offset: int

    @property
    def offset_message_id(self) -> str:
        """The id that says where the message is stored."""
        return offset_message_id(self.store_host, self.position)


def decode_messages(body: bytes | memoryview) -> list[ReceivedMessage]:
    """Return the messages that stand back to back in the body of an answer.

    Raises:
        PeerError: they are not what a store writes.
    """
    view = memoryview(body)
    messages: list[ReceivedMessage] = []
    at = 0
    while at < len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        if not _HEAD.size <= size <= len(view) - at:
            raise PeerError(f"a message at {at} claims {size} bytes")
        try:
            messages.append(_decode(view[at : at + size]))
        except struct.error as error:
            raise PeerError(f"the message at {at} ends early") from error
        at += size
    return messages


def parse_properties(text: str) -> dict[str, str]:
    """Return the properties in their stored text; parts without a name or a value are skipped."""
    properties: dict[str, str] = {}
    for part in text.split(PROPERTY_END):
        name, _, value = part.partition(NAME_END)
        if name and value:
            properties[name] = value
    return properties


def write_properties(properties: Mapping[str, str]) -> str:
    """Return properties as the text in which they are sent and stored."""
    return "".join(f"{name}{NAME_END}{value}{PROPERTY_END}" for name, value in properties.items())


def offset_message_id(store_host: Host, position: int) -> str:
    """Return the id of the message at a position of a broker's log."""
    return (store_host.address + _ID_TAIL.pack(store_host.port, position)).hex().upper()


def parse_offset_message_id(message_id: str) -> tuple[Host, int]:
    """Return the broker and the position that an offset id names.

    Raises:
        RequestError: INVALID_PARAMETER: it is no such id.
    """
    address_bytes = _ADDRESS_BYTES.get(len(message_id))
    try:
        decoded = bytes.fromhex(message_id)
    except ValueError:
        decoded = b""
    if address_bytes is None or len(decoded) != address_bytes + _ID_TAIL.size:
        raise RequestError(
            ResponseCode.INVALID_PARAMETER, f"not the id of a stored message: {message_id[:64]!r}"
        )
    port, position = _ID_TAIL.unpack_from(decoded, address_bytes)
    return Host(decoded[:address_bytes], port), position


def unique_message_id(address: bytes, pid: int, salt: int, elapsed_ms: int, counter: int) -> str:
    """Return the id that a producer gives a message before it is sent.

    Args:
        address: the producer's, 4 or 16 bytes.
        pid: its process; 16 bits are used.
        salt: tells apart producers in one process; 32 bits are used.
        elapsed_ms: since the month began in local time.
        counter: counts the producer's messages; 16 bits are used.
    """
    tail = _UNIQUE_TAIL.pack(pid & 0xFFFF, salt & 0xFFFFFFFF, elapsed_ms & 0xFFFFFFFF, counter & 0xFFFF)
    return (address + tail).hex().upper()


def _decode(view: memoryview) -> ReceivedMessage:
    size, magic, crc, queue_id, flag, queue_offset, position, sys_flag, born_ms = _HEAD.unpack_from(view)
    if magic not in (MAGIC_V1, MAGIC_V2):
        raise PeerError(f"a message has the unknown magic {magic:#x}")
    born_host, at = _take_host(view, _HEAD.size, 16 if sys_flag & BORN_HOST_V6 else 4)
    (stored_ms,) = _STORED.unpack_from(view, at)
    store_host, at = _take_host(view, at + _STORED.size, 16 if sys_flag & STORE_HOST_V6 else 4)
    reconsume_times, prepared, body_bytes = _TAIL.unpack_from(view, at)
    body, at = _take(view, at + _TAIL.size, body_bytes)
    length = _LENGTH_V1 if magic == MAGIC_V1 else _LENGTH_V2
    topic, at = _take(view, at + length.size, *length.unpack_from(view, at))
    properties, at = _take(view, at + _LENGTH_V2.size, *_LENGTH_V2.unpack_from(view, at))
    if at != size:
        raise PeerError(f"a message of {size} bytes ends after {at}")
    return ReceivedMessage(
        topic=topic.decode("utf-8", "replace"),
        body=body,
        properties=parse_properties(properties.decode("utf-8", "replace")),
        queue_id=queue_id,
        queue_offset=queue_offset,
        position=position,
        size_bytes=size,
        flag=flag,
        sys_flag=sys_flag,
        body_crc32=crc,
        born_timestamp_ms=born_ms,
        born_host=born_host,
        store_timestamp_ms=stored_ms,
        store_host=store_host,
        reconsume_times=reconsume_times,
        prepared_transaction_offset=prepared,
    )


def _take_host(view: memoryview, at: int, address_bytes: int) -> tuple[Host, int]:
    address, at = _take(view, at, address_bytes)
    return Host(address, *_PORT.unpack_from(view, at)), at + _PORT.size


def _take(view: memoryview, at: int, size: int) -> tuple[bytes, int]:
    """Return the size bytes from at on, and where they end."""
    end = at + size
    if size < 0 or end > len(view):
        raise PeerError(f"a part of a message claims {size} bytes")
    return bytes(view[at:end]), end
