"""What a disk was told in the course of time: contents, names, and which of them were promised to last.

Time is a count of moments. At each the watcher has looked at all files, so every version of a page is known that was
there at some moment, and so is each change of a name. A sync that began at one moment and ended at another makes
durable, from its end on, what was there at its beginning.

The disk that is assumed is the least that POSIX promises of one whose directory is journalled:

- a page (4096 bytes) that was changed and not synced since holds, after a power cut, the version that was synced last,
  any seen later, or a mixture of these by sectors of 512 bytes; each page for itself, in any order
- a size is synced with any of its file's pages; set by ftruncate or fallocate it is also in order with names: where a
  name is there that was given later, so is the size (ext4, xfs and btrfs: both are metadata). What write() makes of a
  size is not
- names last when their directory was synced, not when the file was; of the changes since then any number may be lost,
  but within a directory in order, and a rename is done whole or not at all
- what a file was, and where it lies, is never mixed up between files
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

PAGE_BYTES: Final = 4096
SECTOR_BYTES: Final = 512
ROOT: Final = 0
"""The number of the directory in which all lies."""


class Version(NamedTuple):
    """A content and when it was there (or, of what was synced, when it was certain, and what moment it shows)."""

    moment: int
    content: bytes
    seen: int


@dataclass(slots=True)
class Page:
    """One page of a file: what was seen in it, and what was synced."""

    seen: list[Version] = field(default_factory=list)
    synced: list[Version] = field(default_factory=list)


@dataclass(slots=True)
class File:
    """A file, whatever its names.

    Attributes:
        pages: by number; one that is not there was always zeros.
        sizes: (moment, size) as seen.
        synced_sizes: (moment, size, moment shown).
        set_sizes: (moment, size) of those seen that were set as metadata.
    """

    number: int
    pages: dict[int, Page] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    synced_sizes: list[tuple[int, int, int]] = field(default_factory=list)
    set_sizes: list[tuple[int, int]] = field(default_factory=list)


class Edit(NamedTuple):
    """In a directory a name now stands for another file or directory, or for None."""

    directory: int
    name: str
    child: int | None


@dataclass(slots=True)
class Change:
    """Edits that are made together or not at all, and from which moment on they are certain."""

    moment: int
    edits: tuple[Edit, ...]
    certain: int | None = None


@dataclass(slots=True)
class Journal:
    """Everything, in order.

    Attributes:
        files: by number.
        directories: the numbers that are directories.
        changes: of names.
        syncs: the moments at which a sync had just ended, and of what.
        notes: (moment, what) that the workload had to say, such as what was acknowledged.
        moment: the last one.
    """

    files: dict[int, File] = field(default_factory=dict)
    directories: set[int] = field(default_factory=lambda: {ROOT})
    changes: list[Change] = field(default_factory=list)
    syncs: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, object]] = field(default_factory=list)
    moment: int = 0

    def see_page(self, file: int, number: int, content: bytes) -> None:
        """A page was found changed."""
        page = self.files[file].pages.setdefault(number, Page())
        page.seen.append(Version(self.moment, content, self.moment))

    def see_size(self, file: int, size: int, *, is_set: bool) -> None:
        """A file was found with another size; perhaps one that was set, and not written."""
        self.files[file].sizes.append((self.moment, size))
        if is_set:
            self.files[file].set_sizes.append((self.moment, size))

    def sync_pages(self, file: int, first: int, end: int, shown: int) -> None:
        """The pages of a range, and the size, are certain from now on, as they were at a moment before."""
        found = self.files[file]
        size = _at(found.sizes, shown)
        if size is not None and (not found.synced_sizes or found.synced_sizes[-1][2] <= shown):
            found.synced_sizes.append((self.moment, size[1], shown))
        for number, page in found.pages.items():
            version = _at(page.seen, shown) if first <= number < end else None
            if version is not None and (not page.synced or page.synced[-1].seen < version.seen):
                page.synced.append(Version(self.moment, version.content, version.seen))

    def sync_names(self, directory: int | None, shown: int) -> None:
        """What was done to names in a directory (None: in all) until a moment is certain from now on."""
        for change in self.changes:
            is_meant = directory is None or any(edit.directory == directory for edit in change.edits)
            if is_meant and change.moment <= shown and change.certain is None:
                change.certain = self.moment


def possible_at(page: Page, moment: int) -> list[bytes]:
    """Every content that a page may have when the power goes after a moment, the certain one first."""
    synced = _at(page.synced, moment)
    since = synced.seen if synced else -1
    first = synced.content if synced else b""
    return [first, *(each.content for each in page.seen if since < each.seen <= moment)]


def sizes_at(file: File, moment: int, named: int) -> list[int]:
    """Every size that a file may have when the power goes after a moment, the certain one first.

    Args:
        file: the file.
        moment: after which it goes.
        named: the moment of the newest of its names that are there.
    """
    synced = _at(file.synced_sizes, moment)
    since, certain = (synced[2], synced[1]) if synced else (-1, 0)
    with_name = _at(file.set_sizes, min(moment, named))
    if with_name is not None and with_name[0] > since:
        since, certain = with_name
    return [certain, *(size for seen, size in file.sizes if since < seen <= moment)]


def _at(versions: Sequence[Any], moment: int) -> Any:
    """The last of these before or at a moment; they begin with theirs."""
    found = bisect_right(versions, moment, key=lambda each: each[0])
    return versions[found - 1] if found else None
