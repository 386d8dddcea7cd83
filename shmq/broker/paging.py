"""Paging: a part of a table, for administrators and replicas that ask for it piece by piece.

A page begins where the client says only while the table is still the one that its first page came from; else the
client gets the beginning again, with the new version, and starts over.
"""

from collections.abc import Iterable
from typing import Final

from shmq.wire.bodies import DataVersion

PAGE_COUNT_MAX: Final = 2000


def choose_page(
    names: Iterable[str],
    begin: int | None,
    count: int | None,
    asked_version: str | None,
    version: DataVersion,
) -> tuple[str, ...]:
    """Return the names that belong in an answer; old clients say nothing, and get them all."""
    ordered = sorted(names)
    if begin is None and count is None and asked_version is None:
        return tuple(ordered)
    is_same = bool(asked_version and asked_version.strip()) and (
        DataVersion.from_bytes((asked_version or "").encode()) == version
    )
    at = max(begin or 0, 0) if is_same else 0
    size = PAGE_COUNT_MAX if count is None else max(min(count, PAGE_COUNT_MAX), 0)
    return tuple(ordered[at : at + size])
