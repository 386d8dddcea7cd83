"""The table of expressions on its way from the conductor to the dispatcher."""

import orjson
import pytest
from structlog.testing import capture_logs

from shmq.broker.filter_table import FilterTable
from shmq.config.settings import Config
from shmq.memory.words import load_word
from shmq.shared import gates
from shmq.store.position import NONE
from shmq.workers.shared_filters import FilterPublisher, decode_filters, encode_filters
from tests.support.extended_store import NOW_MS, ExtendedStore


@pytest.fixture
def store(tmp_path):
    return ExtendedStore(tmp_path)


def known(store, topic=b"T"):
    store.shared.refresh()
    return [each.wanted.expression for each in store.shared.expressions(topic)]


def word(store, offset):
    return load_word(store.words.place("gates") + offset)


def test_what_is_published_is_known(store):
    store.subscribe("g", "a = 1")
    store.subscribe("h", "b = 1", topic="U")
    assert known(store) == []
    store.publish()
    assert known(store) == ["a = 1"]
    assert known(store, b"U") == ["b = 1"]
    (expression,) = store.shared.expressions(b"T")
    assert expression.bits == store.bloom.bits_of("g", "T").positions


def test_a_change_is_not_known_until_it_is_published_nor_is_what_it_changed(store):
    store.subscribe("g", "a = 1")
    store.publish()
    assert known(store) == ["a = 1"]
    store.subscribe("g", "a = 2")
    assert known(store) == []
    store.publish()
    assert known(store) == ["a = 2"]
    store.subscribe("g", "this is no expression")
    store.publish()
    assert known(store) == []


def test_an_expression_lives_from_the_end_of_the_log_that_was_read_after_the_count(store):
    store.append()
    store.subscribe("g", "a = 1")
    (update,) = store.table.snapshot()
    assert (update.live_from, update.generation) == (store.end, word(store, gates.FILTERS))
    assert store.table.find("T", "g").born_ms > NOW_MS
    store.append()
    store.subscribe("h", "a = 1")
    first, second = store.table.snapshot()
    assert (first.live_from, second.live_from) == (update.live_from, store.end)
    assert first.generation == second.generation == update.generation + 1


def test_a_new_version_of_the_same_expression_lives_as_long(store):
    store.subscribe("g", "a = 1")
    (before,) = store.table.snapshot()
    store.append()
    store.subscribe("g", "a = 1")
    (after,) = store.table.snapshot()
    assert (after.live_from, after.generation) == (before.live_from, before.generation)


def test_the_document_is_saved_before_the_table_is_published(store):
    store.subscribe("g", "a = 1")
    store.publisher.publish(store.table, lambda _: True)
    assert word(store, gates.PUBLISHED) == 0
    store.publish()
    assert word(store, gates.PUBLISHED) == word(store, gates.FILTERS)


def test_a_file_of_another_life_is_not_believed(store):
    store.subscribe("g", "a = 1")
    store.publish()
    stale = store.paths.shared_filters.read_bytes()
    store.subscribe("g", "a = 2")
    store.publish()
    store.paths.shared_filters.write_bytes(stale)
    assert known(store) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"generation":2,"expressions":[["T","g","a ="]]}'])
def test_a_file_that_is_none_is_told_and_makes_no_bit_maps(store, content):
    store.subscribe("g", "a = 1")
    store.publish()
    store.paths.shared_filters.write_bytes(content)
    with capture_logs() as logged:
        assert known(store) == []
    assert [line["log_level"] for line in logged] == ["error"]


def test_a_full_disk_is_told_once_and_then_it_is_tried_again(store):
    store.subscribe("g", "a = 1")
    folder = store.paths.root / "filters.shared.new"
    folder.mkdir()  # in the way of the file
    with capture_logs() as logged:
        store.publish()
        store.publish()
    assert len(logged) == 1
    assert word(store, gates.PUBLISHED) == 0
    folder.rmdir()
    store.publish()
    assert known(store) == ["a = 1"]


def test_where_bit_maps_are_off_nothing_is_counted(store):
    settings = Config(store_root=str(store.root), filter_bit_maps_enable=True)
    publisher = FilterPublisher(settings, store.words, store.paths, None)
    table = FilterTable(settings, [])
    publisher.begin(table)
    publisher.publish(table, lambda _: False)
    assert table.generation == 0
    assert word(store, gates.PUBLISHED) == 0


def test_what_is_written_is_read(store):
    store.subscribe("g", "a = 'ä'")
    read = decode_filters(encode_filters(7, store.table), store.bloom)
    assert read[0] == 7
    assert read[1][b"T"][0].wanted.expression == "a = 'ä'"
    assert orjson.loads(encode_filters(7, store.table))["expressions"] == [["T", "g", "a = 'ä'"]]


def test_a_loaded_expression_lives_from_the_start(store):
    store.subscribe("g", "a = 1")
    document = store.table.to_json()
    store.append()
    store.start_conductor(document)
    (update,) = store.table.snapshot()
    assert update.live_from == store.end != NONE
