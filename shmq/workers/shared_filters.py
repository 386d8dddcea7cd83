"""The table of expressions on its way from the conductor to the dispatcher, which makes bit maps by it.

The conductor counts each change in the word `filters` (`shared/gates.py`), and reads the log's end after that: so the
expression's `live_from`. When its document is saved, it writes the table to a file of its own, with the count, and notes
that in the word `published`. The dispatcher reads what is confirmed, then `filters`: a record at or behind `live_from`
is only confirmed when the word has been raised, so it is dispatched by a table that knows the expression, or, while the
file is not there yet, without a bit map.

The document comes first since a RocketMQ broker that takes the store over believes a bit map by what is in there.

Both words are 0 in a new segment, and a table counts from 1: a file of an earlier broker is never believed. Killed
anywhere, a new conductor raises the word; until it has published its table there are no bit maps.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from shmq.broker.bloom import BloomFilter, bloom_of
from shmq.broker.effects import DocumentName
from shmq.broker.filter_table import FilterTable, Raised
from shmq.broker.sql.compiling import compile_sql
from shmq.config.settings import Config
from shmq.memory.words import load_word, store_word
from shmq.shared import gates
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.extending import Expression
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import APPENDED

_NOTHING: Final[Sequence[Expression]] = ()


class FilterPublisher:
    """The conductor's end."""

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths, log: Any) -> None:
        """Publish nothing yet."""
        self._is_enabled = config.queue_extension_enable and config.filter_bit_maps_enable
        self._gates = memory.place("gates")
        self._appended = memory.place("watermarks") + APPENDED
        self._path = paths.shared_filters
        self._log = log
        self._problem = ""

    def begin(self, table: FilterTable) -> None:
        """Have a table count its changes, if bit maps are made."""
        if self._is_enabled:
            table.count_changes(self._raise)

    def publish(self, table: FilterTable, is_unsaved: Callable[[DocumentName], bool]) -> None:
        """Write the table to its file, where it has changed and its document is saved."""
        generation = table.generation
        if (
            not generation
            or is_unsaved(DocumentName.FILTERS)
            or load_word(self._gates + gates.PUBLISHED) == generation
        ):
            return
        try:
            _write(self._path, encode_filters(generation, table))
        except OSError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.error("no bit maps are made: the filters cannot be written", reason=self._problem)
            return
        self._problem = ""
        store_word(self._gates + gates.PUBLISHED, generation)

    def _raise(self) -> Raised:
        live_from = gates.raise_filters(self._gates, self._appended)
        generation = load_word(self._gates + gates.FILTERS)
        return Raised(generation, live_from, time.time_ns() // 1_000_000 + 1)


class SharedFilters:
    """The dispatcher's end: the expressions of each topic (see `store/extending.py`).

    Attributes:
        bit_map_bytes: the length of a bit map.
    """

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths, log: Any) -> None:
        """Know none yet."""
        self._bloom = bloom_of(config)
        self.bit_map_bytes = self._bloom.bit_count // 8
        self._gates = memory.place("gates")
        self._path = paths.shared_filters
        self._log = log
        self._generation = 0
        self._by_topic: Mapping[bytes, Sequence[Expression]] = {}

    def refresh(self) -> None:
        """Take over the table, if it is there as it is now; to be called after what is confirmed was read."""
        generation = load_word(self._gates + gates.FILTERS)
        if generation == self._generation:
            return
        self._by_topic = {}
        self._generation = 0
        if load_word(self._gates + gates.PUBLISHED) != generation:
            return
        try:
            found = decode_filters(self._path.read_bytes(), self._bloom)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._log.error("no bit maps are made: the filters cannot be read", reason=repr(error))
            return
        if found[0] == generation:
            self._generation, self._by_topic = found

    def expressions(self, topic: bytes) -> Sequence[Expression]:
        """The expressions for a topic; none where they are not known as they are now."""
        return self._by_topic.get(topic, _NOTHING)


def encode_filters(generation: int, table: FilterTable) -> bytes:
    """Return the content of the file."""
    rows = [(each.topic, each.group, each.expression) for each in table]
    return orjson.dumps({"generation": generation, "expressions": rows})


def decode_filters(content: bytes, bloom: BloomFilter) -> tuple[int, dict[bytes, list[Expression]]]:
    """Return the count and the expressions by topic.

    Raises:
        ValueError, KeyError, TypeError: it is not what `encode_filters` returns.
    """
    read = orjson.loads(content)
    rows: Iterable[tuple[str, str, str]] = read["expressions"]
    by_topic: dict[bytes, list[Expression]] = {}
    for topic, group, expression in rows:
        found = Expression(compile_sql(expression), bloom.bits_of(group, topic).positions)
        by_topic.setdefault(topic.encode(), []).append(found)
    return int(read["generation"]), by_topic


def _write(path: Path, content: bytes) -> None:
    """Replace a file; it is of no use after a loss of power, and so not synced."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    os.replace(new, path)  # noqa: PTH105 - the same, and says what it does
