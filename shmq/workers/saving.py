"""Saves the conductor's documents when they have changed; what cannot be written is tried again a little later."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from shmq.broker.effects import DocumentName
from shmq.errors import StoreError
from shmq.store.documents import Document
from shmq.wire import fastjson

SAVE_AGAIN_MS: Final = 1000


class Saving:
    """The documents' files, and which of them are out of date."""

    def __init__(self, directory: Path, log: Any) -> None:
        """Take the directory of the documents."""
        self._log = log
        self._documents = {
            name: Document[Any](directory / name, fastjson.loads, _render) for name in DocumentName
        }
        self._unsaved: set[DocumentName] = set()
        self._saved: dict[DocumentName, Any] = {}
        self._again_ms = 0

    def load(self) -> dict[DocumentName, Any]:
        """What each document holds, parsed; None where there is none."""
        return {name: document.load() for name, document in self._documents.items()}

    def note(self, *names: DocumentName) -> None:
        """Have documents saved by the next `save`."""
        self._unsaved.update(names)

    def is_noted(self, name: DocumentName) -> bool:
        """Whether a document will be saved by the next `save`."""
        return name in self._unsaved

    def save(
        self, content_of: Callable[[DocumentName, int], Any], now_ms: int, *, at_once: bool
    ) -> set[DocumentName]:
        """Write the documents that changed, soon after a failure only where it must be at once; return which are saved."""
        saved: set[DocumentName] = set()
        if now_ms < self._again_ms and not at_once:
            return saved
        for name in sorted(self._unsaved):
            try:
                content = content_of(name, now_ms)
                if content != self._saved.get(name):
                    self._documents[name].persist(content)
                    self._saved[name] = content
            except StoreError as error:
                self._log.error("a document could not be saved", name=name, reason=str(error))
                self._again_ms = now_ms + SAVE_AGAIN_MS
                continue
            self._unsaved.discard(name)
            saved.add(name)
        return saved

    def wait_ms(self, now_ms: int, timeout_ms: int) -> int:
        """How long until the next try, where one failed."""
        return max(0, min(timeout_ms, self._again_ms - now_ms)) if self._unsaved else timeout_ms


def _render(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
