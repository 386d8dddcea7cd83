"""A dispatcher killed with -9, again and again, leaves no gap and no double."""

import os
import random
import signal

import pytest

from shmq.memory import region
from shmq.memory.layout import round_up
from shmq.memory.words import load_word, store_word
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.queue_extension import BASE
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from tests.support.extended_store import ExtendedStore
from tests.support.small_store import SLOTS, SmallStore

QUEUES = 6
RECORDS = 12_000


def dispatch_in_child(store, dispatched):
    """A process that dispatches from the watermark on, and moves it."""
    child = os.fork()
    if child:
        return child
    try:
        store.start_dispatcher()
        if isinstance(store, ExtendedStore):
            store.shared.refresh()
        while load_word(dispatched) < store.end:
            result = store.dispatch.step(load_word(dispatched), store.end, 5000)
            assert not result.problem
            store_word(dispatched, result.reached)
    finally:
        os._exit(0 if load_word(dispatched) == store.end else 1)


@pytest.mark.parametrize("has_extensions", [False, True], ids=["plain", "extended"])
def test_a_dispatcher_killed_anywhere_is_followed_by_one_that_goes_on(tmp_path, has_extensions):
    if has_extensions:
        store = ExtendedStore(tmp_path, log_file_bytes=1 << 20, queue_file_bytes=2000, windows_max=4)
        store.subscribe("g", "TAGS = 'A'")
        store.publish()
    else:
        store = SmallStore(tmp_path, log_file_bytes=1 << 20, queue_file_bytes=2000, windows_max=4)
    topics, queues = region.anonymous(name_table_bytes(SLOTS)), region.anonymous(queue_table_bytes(SLOTS))
    watermark = region.anonymous(4096)
    format_name_table(topics.bytes, SLOTS)
    format_queue_table(queues.bytes, SLOTS)
    store.topics, store.queues = NameTable(topics.bytes), QueueTable(queues.bytes)
    for number in range(QUEUES):
        store.add_queue(b"T", number)
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to run a failure again
    chance = random.Random(seed)
    for _ in range(RECORDS):
        store.append(b"T", chance.randrange(QUEUES), tag=chance.choice("ABC"), store_ms=store.end)
    store.start_dispatcher()
    if has_extensions:
        store.shared.refresh()
    store.dispatch.step(0, store.records[1][0], 1)  # compiles, so that no child must
    total = store.queues.max[:QUEUES]
    kills = 0
    while load_word(watermark.address) < store.end:
        child = dispatch_in_child(store, watermark.address)
        goal = int(total.sum()) + chance.randrange(RECORDS // 10)
        status = (0, 0)
        while status[0] == 0 and int(total.sum()) < goal:
            status = os.waitpid(child, os.WNOHANG)
        if status[0] == 0:
            os.kill(child, signal.SIGKILL)
            kills += 1
            os.waitpid(child, 0)
        else:
            assert status[1] == 0
    assert kills > 5
    for number in range(QUEUES):
        expected = [record[:2] for record in store.records if record[3] == number]
        assert [entry[:2] for entry in store.entries(b"T", number)] == expected
        assert store.queues.end_position[number] == sum(expected[-1])
    if has_extensions:
        check_units(store)


def check_units(store):
    """Each entry leads to a unit of its own, which says what its message is; none has a hole before it."""
    bits = store.bloom.bits_of("g", "T")
    tag_a = ord("A")
    for number in range(QUEUES):
        records = [record for record in store.records if record[3] == number]
        units = store.units(b"T", number)
        assert [unit.store_ms for unit in units] == [record[5] for record in records]
        assert [bits.may_match(unit.bit_map) for unit in units] == [unit.tag_code == tag_a for unit in units]
        places = [entry[2] - BASE for entry in store.entries(b"T", number)]
        ends = [place + unit.size for place, unit in zip(places, units, strict=True)]
        for end, place in zip([0, *ends], places, strict=False):
            assert place in {end, round_up(end, store.extension_bytes)}
