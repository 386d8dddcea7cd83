import os
import stat
from pathlib import Path

import numpy as np
import pytest

from shmq.errors import SharedMemoryError
from shmq.memory import region
from shmq.memory.layout import layout


@pytest.fixture
def name():
    made = f"/shmq-test-{os.getpid()}"
    yield made
    region.unlink(made)


def test_a_new_region_is_zeros_and_private(name):
    made = region.create(name, 8192)
    assert (made.size_bytes, made.name) == (8192, name)
    assert not made.bytes.any()
    assert stat.S_IMODE(Path(region.FOLDER, name[1:]).stat().st_mode) == 0o600


def test_its_blocks_are_reserved_when_it_is_made(name):
    region.create(name, 1 << 20)
    assert Path(region.FOLDER, name[1:]).stat().st_blocks * 512 >= 1 << 20


def test_the_mode_is_as_asked_whatever_the_mask(name):
    before = os.umask(0o077)
    try:
        region.create(name, 4096, mode=0o660, group_id=os.getgid())
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(region.FOLDER, name[1:]).stat().st_mode) == 0o660


def test_who_attaches_sees_the_same_bytes(name):
    made = region.create(name, 4096)
    found = region.attach(name)
    made.bytes[7] = 9
    assert found.bytes[7] == 9
    assert found.size_bytes == 4096


def test_a_name_that_is_taken_is_refused(name):
    region.create(name, 4096)
    with pytest.raises(SharedMemoryError, match="exists already"):
        region.create(name, 4096)


def test_what_does_not_exist_cannot_be_attached(name):
    with pytest.raises(SharedMemoryError, match="there is no shared memory"):
        region.attach(name)


def test_a_region_that_is_not_made_up_yet_cannot_be_attached(name):
    Path(region.FOLDER, name[1:]).touch(mode=0o600)
    with pytest.raises(SharedMemoryError, match="not made up"):
        region.attach(name)


def test_more_than_there_is_room_for_is_refused_and_leaves_nothing(name):
    with pytest.raises(SharedMemoryError, match="no room for"):
        region.create(name, 1 << 50)
    assert not region.unlink(name)


def test_an_unlinked_region_keeps_its_mappings_and_loses_its_name(name):
    made = region.create(name, 4096)
    assert region.unlink(name)
    made.bytes[0] = 1
    assert not region.unlink(name)
    assert not Path(region.FOLDER, name[1:]).exists()


def test_parts_are_seen_as_words_and_as_records():
    made = region.anonymous(4096)
    assert made.name == ""
    made.words(8, 2)[:] = [1, -1]
    assert made.bytes[8:24].tobytes() == (1).to_bytes(8, "little") + b"\xff" * 8
    pair = layout(8, low=(0, "<i4"), high=(4, "<i4"))
    rows = made.records(8, 2, pair)
    assert rows["low"].tolist() == [1, -1]
    rows["high"] = 3
    assert made.words(8, 1)[0] == (3 << 32) + 1
    assert made.address == int(np.frombuffer(made.bytes, dtype=np.uint8).ctypes.data)
