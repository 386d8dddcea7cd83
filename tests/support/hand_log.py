"""A log written by hand: any records, in files of any size, placed as RocketMQ places them."""

import struct

from shmq.store import record
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.store.segment import file_name

HOST = Host(bytes([127, 0, 0, 1]), 10911)
BLANK = struct.pack(">I", 0xCBD43194)


def new_record(topic=b"T", body=b"x", properties=b"", *, queue_id=0, sys_flag=0):
    return NewRecord(topic, queue_id, 0, sys_flag, 900, HOST, HOST, 0, 0, body, properties)


def record_of(size, **parts):
    """A record that is exactly so long."""
    return new_record(body=b"b" * (size - record.size_of(new_record(body=b"", **parts))), **parts)


class HandLog:
    """The log of a store, in memory until it is written.

    Attributes:
        files: their bytes, by where they start.
        end: where the next record goes, if it fits.
    """

    def __init__(self, file_bytes, begin=0):
        self.file_bytes = file_bytes
        self.end = begin
        self.files = {}

    def append(self, new, queue_offset=0, store_ms=1000, *, margin_bytes=8):
        """Place a record, in the next file if this one would not keep a margin behind it; return its position."""
        size = record.size_of(new)
        left = self.file_bytes - self.end % self.file_bytes
        if size + margin_bytes > left and self.end % self.file_bytes != 0:
            self.put(self.end, struct.pack(">i", left) + BLANK)
            self.end += left
        position = self.end
        buffer = bytearray(size)
        record.encode_into(new, memoryview(buffer), 0)
        struct.pack_into(">qq", buffer, 20, queue_offset, position)
        stored_at = 68 if len(new.born_host.address) == 16 else 56
        struct.pack_into(">q", buffer, stored_at, store_ms)
        self.put(position, buffer)
        self.end += size
        return position

    def put(self, position, content):
        """Put bytes anywhere in one file."""
        start = position - position % self.file_bytes
        if start not in self.files:
            self.files[start] = bytearray(self.file_bytes)
        file = self.files[start]
        file[position - start : position - start + len(content)] = content
        assert len(file) == self.file_bytes, "what was put did not fit"

    def write(self, root):
        """Write the files below a store's root."""
        (root / "commitlog").mkdir(parents=True, exist_ok=True)
        for start, content in self.files.items():
            (root / "commitlog" / file_name(start)).write_bytes(content)
