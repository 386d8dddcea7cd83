"""The key index in slow, plain Python after its specification: what files must hold, and what a query must find.

It shares no line with `shmq/store/key_index.py`, so that the two can judge each other.
"""

import struct
from dataclasses import dataclass, field

HEADER = struct.Struct(">qqqqii")  # begin and end time, begin and end position, used slots, next entry number
ENTRY = struct.Struct(">iqii")  # hash, position, seconds, previous entry
SLOT_BYTES = 4
INT32_MAX = (1 << 31) - 1
FIRST_NAME = 20231114221320123


def java_hash(text):
    """Java's String.hashCode: over the UTF-16 units, in 32 bits."""
    result = 0
    for (unit,) in struct.iter_unpack(">H", text.encode("utf-16-be")):
        result = (31 * result + unit) % (1 << 32)
    return result - (1 << 32) if result > INT32_MAX else result


def key_hash(text):
    """Of `topic#key`, as the index keeps it: never negative, and 0 where Java's abs() gives up."""
    hashed = abs(java_hash(text))
    return 0 if hashed > INT32_MAX else hashed


@dataclass
class Put:
    """What was put in: the hash of a key, and the record's position and store time."""

    key_hash: int
    position: int
    store_ms: int


@dataclass
class ModelFile:
    """One file: its bytes, and what was put into it."""

    slots: int
    entries: int
    content: bytearray
    puts: list[Put] = field(default_factory=list)

    @classmethod
    def after(cls, slots, entries, previous):
        """A new file: its begin and end are the previous one's end, and its first entry has number 1."""
        made = cls(slots, entries, bytearray(HEADER.size + SLOT_BYTES * slots + ENTRY.size * entries))
        _, end_ms, _, end_position, _, _ = previous.header if previous else (0,) * 6
        made.header = (end_ms, end_ms, end_position, end_position, 0, 1)
        return made

    @property
    def header(self):
        return HEADER.unpack_from(self.content)

    @header.setter
    def header(self, fields):
        HEADER.pack_into(self.content, 0, *fields)

    @property
    def is_full(self):
        return self.header[5] >= self.entries

    def put(self, new):
        begin_ms, _, begin_position, _, used_slots, number = self.header
        slot = HEADER.size + SLOT_BYTES * (new.key_hash % self.slots)
        (previous,) = struct.unpack_from(">i", self.content, slot)
        seconds = 0
        if begin_ms > 0:
            seconds = min(max((new.store_ms - begin_ms) // 1000, 0), INT32_MAX)
        entry = HEADER.size + SLOT_BYTES * self.slots + ENTRY.size * number
        ENTRY.pack_into(self.content, entry, new.key_hash, new.position, seconds, previous)
        struct.pack_into(">i", self.content, slot, number)
        if number == 1:
            begin_ms, begin_position = new.store_ms, new.position
        used_slots += previous == 0
        self.header = (begin_ms, new.store_ms, begin_position, new.position, used_slots, number + 1)
        self.puts.append(new)

    def candidates(self, hashed, begin_ms, end_ms):
        """The positions of a hash whose whole second overlaps the time, the newest first."""
        first_ms = self.puts[0].store_ms if self.puts else 0
        found = []
        for each in reversed(self.puts):
            earliest_ms = first_ms + max((each.store_ms - first_ms) // 1000, 0) * 1000
            if each.key_hash == hashed and earliest_ms <= end_ms and earliest_ms + 999 >= begin_ms:
                found.append(each.position)
        return found


class KeyIndexModel:
    """All files of an index.

    Attributes:
        files: the oldest first.
    """

    def __init__(self, slots, entries):
        self.slots = slots
        self.entries = entries
        self.files = []

    def put(self, key_text, position, store_ms):
        """Add an entry for a text `topic#key`; the text may also be its hash."""
        hashed = key_text if isinstance(key_text, int) else key_hash(key_text)
        if not self.files or self.files[-1].is_full:
            previous = self.files[-1] if self.files else None
            self.files.append(ModelFile.after(self.slots, self.entries, previous))
        self.files[-1].put(Put(hashed, position, store_ms))

    def put_message(self, topic, unique_id, keys, position, store_ms):
        """Add the entries of a message: for its unique id, then for each word of its KEYS."""
        if unique_id:
            self.put(f"{topic}#{unique_id}", position, store_ms)
        for key in keys.split(" "):
            if key:
                self.put(f"{topic}#{key}", position, store_ms)

    def write(self, directory):
        """Write the files, a minute between their names; return their paths."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / str(FIRST_NAME + 100_000 * index) for index in range(len(self.files))]
        for path, file in zip(paths, self.files, strict=True):
            path.write_bytes(file.content)
        return paths

    def query(self, key_text, begin_ms, end_ms, count_max):
        """The positions of the newest records of a key's hash that were stored in this time, in rising order."""
        hashed = key_hash(key_text)
        positions = {
            each.position
            for file in self.files
            for each in file.puts
            if each.key_hash == hashed and begin_ms <= each.store_ms <= end_ms
        }
        return sorted(positions)[-count_max:] if count_max > 0 else []
