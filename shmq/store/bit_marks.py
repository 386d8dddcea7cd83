"""Extensions for who reads a queue: messages that no bit map lets through, or whose tag differs, are passed over unread.

A bit map says which expressions its message matches, but only of expressions that the dispatcher knew when it made it.
So a reader must be as well informed as the dispatcher was: the conductor counts the changes of its table of expressions
in a shared word (`shared/gates.py`), the dispatcher looks at it after it has seen what is confirmed, and here a bit map
is believed only

  - of a message that begins at `live_from` or later, the end of the log when the word had been raised for that
    expression: it was dispatched by somebody who knew it, or without a bit map;
  - while the word is what this reader was told of, by the conductor that is there now: otherwise the dispatcher may have judged by an expression that has
    since taken this one's place.

Nothing is written here. Files are mapped when first needed, and only where they have their full size. The extension of a
topic that was deleted and made again begins anew, under the same names: so a mapping is used only while its file still
has its name. Who has seen an entry finds the file in which its unit is.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.memory.endian import load_i64
from shmq.store.extension_files import read_unit
from shmq.store.extension_scan import Marked, Tagged, mark_tagged, mark_unwanted
from shmq.store.position import NONE
from shmq.store.property_match import PropertyFilter
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import SIZE, TAG_HASH
from shmq.store.queue_extension import BASE, Unit
from shmq.store.segment import file_name

MAPPINGS_MAX: Final = 256
"""So many files stay mapped; the one mapped longest ago goes first."""


@dataclass(frozen=True, slots=True)
class MarkedFilter:
    """A filter of properties that has bits in bit maps; two are equal whose filters are.

    Attributes:
        wanted: the filter.
        bits: the positions that are all set for a message that it matches.
        bit_map_bytes: the length of a bit map.
        live_from: bit maps of records before this position of the log do not know it.
        generation: what the word said when it was told.
    """

    wanted: PropertyFilter
    bits: tuple[int, ...] = field(compare=False)
    bit_map_bytes: int = field(compare=False)
    live_from: int = field(compare=False)
    generation: int = field(compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The properties that the filter looks at."""
        return self.wanted.names

    @property
    def matches(self) -> Callable[..., bool]:
        """Takes their values; whether the message matches."""
        return self.wanted.matches


class _Mapped(NamedTuple):
    """A mapped file: where, and which one it is."""

    address: int
    mapping: mmap.mmap
    file: tuple[int, int]


class ExtensionReader:
    """Read-only mappings of extension files, for one thread."""

    def __init__(self, root: Path, file_bytes: int, generation: Callable[[], int]) -> None:
        """Open no file yet.

        Args:
            root: the directory of the extensions of all queues.
            file_bytes: the size of a file.
            generation: reads the word that counts changes of the table of expressions.
        """
        self.generation = generation
        self._root = root
        self._file_bytes = file_bytes
        self._mapped: dict[tuple[int, int], _Mapped] = {}

    def mark(
        self, wanted: MarkedFilter, slot: int, queue: tuple[bytes, int], entries: int, part: range, marks: int
    ) -> None:
        """Write the byte of each entry of a part, see `extension_scan.py`.

        Args:
            wanted: whose bits are looked for.
            slot: the queue's.
            queue: its topic and queue id.
            entries: where entry 0 is mapped.
            part: the entries to be looked at.
            marks: where the byte of entry 0 is written.
        """
        bits: Words = np.array(wanted.bits, dtype=np.int64)
        asked = Marked(
            entries,
            part.stop,
            wanted.live_from,
            NONE,
            0,
            0,
            address_of(bits),
            len(bits),
            wanted.bit_map_bytes,
            marks,
        )
        begin = part.start
        while (begin := mark_unwanted(asked, begin)) < part.stop:
            start, address = self._file_of(slot, queue, entries + SIZE * begin)
            asked = asked._replace(file=address, file_start=start, file_end=start + self._file_bytes)

    def mark_tagged(
        self, tags: Words, slot: int, queue: tuple[bytes, int], entries: int, part: range, marks: int
    ) -> None:
        """As `mark`, by hashes of tags, in order; what is not unwanted is wanted."""
        asked = Tagged(entries, part.stop, NONE, 0, 0, marks, address_of(tags), len(tags))
        begin = part.start
        while (begin := mark_tagged(asked, begin)) < part.stop:
            start, address = self._file_of(slot, queue, entries + SIZE * begin)
            asked = asked._replace(file=address, file_start=start, file_end=start + self._file_bytes)

    def unit(self, queue: tuple[bytes, int], address: int) -> Unit | None:
        """Return the unit at an address of a queue; None where it cannot be read."""
        return read_unit(queue_path(self._root, *queue), self._file_bytes, address)

    def forget(self, slot: int = NONE) -> None:
        """Let go of the files of a queue, or of all."""
        for key in [key for key in self._mapped if slot in (NONE, key[0])]:
            self._mapped.pop(key).mapping.close()

    def _file_of(self, slot: int, queue: tuple[bytes, int], entry: int) -> tuple[int, int]:
        """Where the file begins in which the unit of an entry is, and where that is mapped."""
        offset = load_i64(entry + TAG_HASH) - BASE
        start = offset // self._file_bytes * self._file_bytes
        return start, self._address(slot, queue, start)

    def _address(self, slot: int, queue: tuple[bytes, int], start: int) -> int:
        """Where the file that begins at an offset is mapped; NONE where it cannot be."""
        path = queue_path(self._root, *queue) / file_name(start)
        key = slot, start
        try:
            named = os.stat(path)  # noqa: PTH116 - asked each time: a path costs less
        except OSError:
            return NONE
        known = self._mapped.get(key)
        if known is not None:
            if known.file == (named.st_dev, named.st_ino):
                return known.address
            self._mapped.pop(key).mapping.close()
        return self._map(key, path)

    def _map(self, key: tuple[int, int], path: Path) -> int:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return NONE
        try:
            opened = os.fstat(descriptor)
            if opened.st_size != self._file_bytes:
                return NONE
            mapping = mmap.mmap(descriptor, self._file_bytes, prot=mmap.PROT_READ)
        except OSError:
            return NONE
        finally:
            os.close(descriptor)
        if len(self._mapped) >= MAPPINGS_MAX:
            self._mapped.pop(next(iter(self._mapped))).mapping.close()
        address = address_of(np.frombuffer(mapping, dtype=np.uint8))
        self._mapped[key] = _Mapped(address, mapping, (opened.st_dev, opened.st_ino))
        return address
