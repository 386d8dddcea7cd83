import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shmq.errors import ConfigError, SharedMemoryError
from shmq.memory import region
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell, spsc
from shmq.shared import broker_memory, header, plan, roster
from tests.support.writer_ground import offer, small_config


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path, broker_name=f"test-{os.getpid()}")


@pytest.fixture
def name(config):
    made = broker_memory.segment_name(config.broker_name)
    yield made
    region.unlink(made)


def head_of(name):
    return region.attach(name).records(0, 1, header.LAYOUT)[0]


def set_owner(name, pid, started):
    head = head_of(name)
    head["pid"], head["started"] = pid, started


def test_a_new_segment_says_what_and_whose_it_is(config, name):
    memory = broker_memory.create(config, 77)
    head = head_of(name)
    assert memory.name == name
    assert head["magic"] == header.MAGIC
    assert (head["pid"], head["started"]) == roster.own_identity()
    assert (head["broker_epoch"], head["workers"]) == (77, 2)
    assert head["layout_hash"] == memory.plan.layout_hash
    assert head["size_bytes"] == memory.plan.size_bytes == region.attach(name).size_bytes


def test_its_tables_are_empty_and_hold_what_was_asked_for(config):
    memory = broker_memory.create_unnamed(config)
    assert memory.name == ""
    assert (memory.topic_names.capacity, memory.group_names.capacity) == (
        config.topics_max,
        config.groups_max,
    )
    assert (memory.queues.capacity, memory.offsets.capacity) == (
        config.queue_slots_max,
        config.offset_rows_max,
    )
    assert memory.topic_names.count == memory.queues.count == memory.watermarks.appended == 0
    assert len(memory.roster) == plan.FIRST_WORKER + 2


def test_its_rings_are_empty_and_of_their_capacity(config):
    memory = broker_memory.create_unnamed(config)
    capacities = {"submit": 256, "completions": 4, "up": 64, "down": 64}
    locals_at = memory.plan.reserved_bytes
    extents = memory.plan.extents
    rings = [each for each in extents if "/" in each and extents[each].offset_bytes < locals_at]
    assert len(rings) == 10
    for each in rings:
        capacity_bytes = 1024 * capacities[each.split("/")[0]]
        assert spsc.is_empty(memory.place(each))
        assert spsc.claim(memory.place(each), capacity_bytes - 16) == 0
        assert spsc.claim(memory.place(each), capacity_bytes - 15) == spsc.NONE


def test_places_are_where_the_plan_says(config):
    memory = broker_memory.create_unnamed(config)
    extent = memory.plan.extents["bells"]
    assert memory.bell(2) == memory.address + extent.offset_bytes + 2 * doorbell.SIZE
    assert len(memory.bytes_of("bells")) == extent.size_bytes
    memory.roster[1]["epoch"] = 9
    assert load_word(memory.roster_row(1) + roster.EPOCH) == 9


def test_the_state_and_the_shutdown_are_words_of_the_header(config):
    memory = broker_memory.create_unnamed(config)
    assert memory.state == header.STARTING
    memory.state = header.RUNNING
    memory.shutdown = 3
    assert (memory.state, memory.shutdown) == (header.RUNNING, 3)
    assert load_word(memory.address + header.STATE) == header.RUNNING


def test_sync_flush_lets_consumers_see_what_is_flushed(tmp_path):
    for kind, confirmed in (("ASYNC_FLUSH", 10), ("SYNC_FLUSH", 0)):
        memory = broker_memory.create_unnamed(small_config(tmp_path, flush_disk_type=kind))
        store_word(memory.place("watermarks"), 10)
        assert memory.watermarks.confirmed == confirmed


def test_a_second_supervisor_of_the_same_name_is_told_of_the_first(config, name):
    broker_memory.create(config, 1)
    with pytest.raises(SharedMemoryError, match=f"runs already .supervisor pid {os.getpid()}."):
        broker_memory.create(config, 2)
    assert head_of(name)["broker_epoch"] == 1


def test_a_leftover_is_replaced(config, name):
    broker_memory.create(config, 1)
    set_owner(name, os.getpid(), 1)  # as a process long gone that had our pid
    assert broker_memory.owner_of(name) == 0
    assert name in broker_memory.leftovers()
    broker_memory.create(config, 2)
    assert head_of(name)["broker_epoch"] == 2
    assert name not in broker_memory.leftovers()


@pytest.mark.parametrize("size_bytes", [0, 8, 8192])
def test_an_unsigned_segment_is_being_made_and_a_leftover_when_that_takes_too_long(name, size_bytes):
    path = Path(region.FOLDER, name[1:])
    path.touch(mode=0o600)
    os.truncate(path, size_bytes)
    with pytest.raises(SharedMemoryError, match="is being made"):
        broker_memory.owner_of(name)
    assert name not in broker_memory.leftovers()
    long_ago = time.time() - broker_memory.MAKING_SECONDS_MAX - 1
    os.utime(path, (long_ago, long_ago))
    assert broker_memory.owner_of(name) == 0
    assert name in broker_memory.leftovers()


def test_a_segment_that_does_not_exist_has_no_owner(name):
    assert broker_memory.owner_of(name) is None


def test_names_of_brokers_become_names_of_segments():
    assert broker_memory.segment_name("broker-a.1_x") == "/shmq-broker-a.1_x"
    assert broker_memory.segment_name("a b!c") == "/shmq-a_b_c"


def test_a_group_that_does_not_exist_is_an_error_of_the_configuration(config):
    object.__setattr__(config, "shared_memory_group", "no-such-group-here")
    with pytest.raises(ConfigError, match="no unix group"):
        broker_memory.create(config, 1)
    assert broker_memory.owner_of(broker_memory.segment_name(config.broker_name)) is None


def test_what_another_process_puts_into_a_ring_is_read_here(config, name):
    memory = broker_memory.create(config, 1)
    script = f"""
from shmq.memory import region
from tests.support.writer_ground import offer
memory = region.attach({name!r})
offer(memory.address + {memory.plan.extents["up/1"].offset_bytes}, b"hello", 7, 8)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
    found = spsc.peek(memory.place("up/1"), 0)
    assert (found.kind, found.tag, found.size_bytes) == (7, 8, 5)


def test_a_renewed_ring_has_lost_what_was_in_it(config):
    memory = broker_memory.create_unnamed(config)
    offer(memory.place("up/0"), b"x", 1, 1)
    memory.renew_ring("up/0")
    assert spsc.is_empty(memory.place("up/0"))
