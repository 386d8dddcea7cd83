"""What may be on the disk when the power has gone: one of many possible directories, made anew."""

import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from tests.crash.journal import (
    PAGE_BYTES,
    ROOT,
    SECTOR_BYTES,
    Change,
    File,
    Journal,
    possible_at,
    sizes_at,
)


class Fate:
    """How much of what was not certain has come to the disk: of pages, sizes and names, from a seed.

    A toss for each page alone would hardly ever give the telling cases, in which all of it is there but one, or none.
    """

    MOODS: Final = ("nothing", "all", "each", "all but few", "few", "torn")
    NAME_MOODS: Final = ("nothing", "all", "some directories", "prefixes", "all but few")

    def __init__(self, random: Random, pages: str | None = None, names: str | None = None) -> None:
        self._random = random
        self.pages = pages or random.choice(self.MOODS)
        self.names = names or random.choice(self.NAME_MOODS)

    def content(self, possible: list[bytes]) -> bytes:
        """One of the contents that a page may have, the first being the certain one."""
        random = self._random
        if len(possible) == 1 or self.pages == "nothing":
            return possible[0]
        newest = possible[-1]
        match self.pages:
            case "all":
                return newest
            case "all but few":
                return newest if random.random() < 0.8 else random.choice(possible)
            case "few":
                return possible[0] if random.random() < 0.8 else random.choice(possible)
            case "torn":
                return self._mixed(possible)
        return random.choice(possible)

    def size(self, possible: list[int]) -> int:
        """One of the sizes that a file may have."""
        if self.pages == "nothing":
            return possible[0]
        return possible[-1] if self.pages == "all" else self._random.choice(possible)

    def kept(self, changes: list[Change]) -> list[bool]:
        """Which of the changes of names that are not certain have been made."""
        random = self._random
        match self.names:
            case "nothing":
                return [False] * len(changes)
            case "all":
                return [True] * len(changes)
            case "all but few":
                return [random.random() < 0.95 for _ in changes]
        directories = sorted({edit.directory for change in changes for edit in change.edits})
        counts = Counter(edit.directory for change in changes for edit in change.edits)
        if self.names == "some directories":
            left = {each: random.choice((0, counts[each])) for each in directories}
        else:
            left = {each: random.randint(0, counts[each]) for each in directories}
        result: list[bool] = []
        for change in changes:
            touched = {edit.directory for edit in change.edits}
            result.append(all(left[each] > 0 for each in touched))
            for each in touched:
                left[each] -= 1
        return result

    def _mixed(self, possible: list[bytes]) -> bytes:
        padded = [each.ljust(PAGE_BYTES, b"\0") for each in possible]
        return b"".join(
            self._random.choice(padded)[at : at + SECTOR_BYTES] for at in range(0, PAGE_BYTES, SECTOR_BYTES)
        )


def make_image(journal: Journal, moment: int, fate: Fate, root: Path) -> None:
    """Make the directory that is found when the power went right after a moment.

    Args:
        journal: what was done.
        moment: until when.
        fate: decides what was not certain.
        root: an absent directory.
    """
    entries, named = names_at(journal, moment, fate)
    paths: dict[int, Path] = {}

    def fill(directory: int, path: Path) -> None:
        path.mkdir()
        for name, child in entries.get(directory, {}).items():
            if child in journal.directories:
                fill(child, path / name)
            elif child in paths:
                os.link(paths[child], path / name)
            else:
                paths[child] = path / name
                file = journal.files[child]
                size = fate.size(sizes_at(file, moment, named.get(child, 0)))
                _write(file, size, moment, fate, path / name)

    fill(ROOT, root)


def names_at(journal: Journal, moment: int, fate: Fate) -> tuple[dict[int, dict[str, int]], dict[int, int]]:
    """What is in each directory when the power went right after a moment, and when each file got its newest name."""
    known = [change for change in journal.changes if change.moment <= moment]
    certain = [change.certain is not None and change.certain <= moment for change in known]
    kept = iter(fate.kept([change for change, sure in zip(known, certain, strict=True) if not sure]))
    made = _without_gaps(known, certain, [sure or next(kept) for sure in certain])
    entries: dict[int, dict[str, int]] = {}
    named: dict[int, int] = {}
    for change, is_made in zip(known, made, strict=True):
        for edit in change.edits if is_made else ():
            names = entries.setdefault(edit.directory, {})
            if edit.child is None:
                names.pop(edit.name, None)
            else:
                names[edit.name] = edit.child
                named[edit.child] = change.moment
    return entries, named


def _without_gaps(known: list[Change], certain: list[bool], made: list[bool]) -> list[bool]:
    """In each directory changes are made in order: the first that is lost takes later ones with it."""
    stopped: set[int] = set()
    result: list[bool] = []
    for change, is_certain, is_made in zip(known, certain, made, strict=True):
        directories = {edit.directory for edit in change.edits}
        is_kept = is_certain or (is_made and not directories & stopped)
        if not is_kept:
            stopped |= directories
        result.append(is_kept)
    return result


def _write(file: File, size: int, moment: int, fate: Fate, path: Path) -> None:
    with path.open("wb") as made:
        made.truncate(size)
        for number, page in file.pages.items():
            begin = number * PAGE_BYTES
            content = fate.content(possible_at(page, moment))[: max(0, size - begin)]
            if content.strip(b"\0"):
                made.seek(begin)
                made.write(content)
