"""A small document that is replaced whole: topics, offsets, groups; each `X` beside the `X.bak` before it.

    1  write X.new, sync it
    2  give the present X the second name X.bak (through X.bak.new, as a rename replaces and a link does not)
    3  rename X.new to X, sync the directory

So at every instant X is whole, old or new, and so is X.bak where there is one; a RocketMQ that starts here takes X,
or X.bak where its own last write was cut short. Such an X is not ours: `load` then answers X.bak and touches
neither, and the next `persist` replaces X alone, so that the good copy is kept until a better one is there.

Written by the conductor alone. How text and value relate is the caller's business.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from shmq.errors import ShmqError, StoreError
from shmq.store.store_files import make_directory, sync_directory

_Value = TypeVar("_Value")


class Document(Generic[_Value]):
    """One document of `config/`.

    Args:
        path: where X lies.
        parse: bytes to value; raises ValueError or one of our errors on what it cannot read.
        render: value to bytes.
    """

    def __init__(
        self, path: Path, parse: Callable[[bytes], _Value], render: Callable[[_Value], bytes]
    ) -> None:
        self.path = path
        self.backup = path.with_name(path.name + ".bak")
        self._parse = parse
        self._render = render
        self._is_backup_better = False

    def load(self) -> _Value | None:
        """The value of X, or else of X.bak; None where neither was ever written.

        Raises:
            StoreError: what there is cannot be read; nothing is guessed and nothing removed.
        """
        text, backup_text = _read(self.path), _read(self.backup)
        if not text and not backup_text:
            return None
        reasons: list[str] = []
        for path, candidate in ((self.path, text), (self.backup, backup_text)):
            try:
                value = self._parse(candidate) if candidate else None
            except (ValueError, ShmqError) as error:
                reasons.append(f"{path}: {error}")
                continue
            if value is not None:
                self._is_backup_better = path == self.backup
                return value
            reasons.append(f"{path}: there is nothing in it")
        raise StoreError(f"no readable copy of a document is left ({'; '.join(reasons)})")

    def persist(self, value: _Value) -> None:
        """Replace the document, durably.

        Raises:
            StoreError: the disk refuses; the document is as it was.
        """
        try:
            self._replace(self._render(value))
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error
        self._is_backup_better = False

    def _replace(self, text: bytes) -> None:
        make_directory(self.path.parent)
        new = self.path.with_name(self.path.name + ".new")
        with new.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists() and not self._is_backup_better:
            new_backup = self.backup.with_name(self.backup.name + ".new")
            new_backup.unlink(missing_ok=True)
            new_backup.hardlink_to(self.path)
            new_backup.replace(self.backup)
        new.replace(self.path)
        sync_directory(self.path.parent)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
