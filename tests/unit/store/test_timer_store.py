"""What a start makes of timers whose files are damaged, and what of the log the waiting ones need."""

import pytest

from shmq.errors import StoreError
from shmq.store.position import NONE
from shmq.store.read import QueueReader
from shmq.store.timer_check import TimerCheck, read_timer_check
from shmq.store.timer_wheel import TimerWheel
from tests.support.small_metadata import NOW_MS
from tests.support.small_timers import UNIT_FILE_BYTES, SmallTimers


@pytest.fixture
def small(tmp_path):
    made = SmallTimers(tmp_path)
    yield made
    made.close()


def waiting(small, count):
    """Messages that are due one by one, all in their slots; return their keys."""
    keys = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500 + 10 * number)[0] for number in range(count)]
    while not small.look().is_all:
        continue
    return keys


def begun_anew(small, damage):
    """Close, damage, open, and deliver everything; return the keys that came."""
    small.close()
    damage(small.paths)
    small.open()
    small.pass_ms(60_000)
    small.pass_ms(60)
    return small.keys()


def cut_short(path):
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize(
    "damage",
    [
        lambda paths: paths.timer_wheel.unlink(),
        lambda paths: paths.timer_wheel.write_bytes(bytes(paths.timer_wheel.stat().st_size)),
        lambda paths: paths.timer_check.write_bytes(TimerCheck(0, 1 << 40, 1 << 40, 0).to_bytes()),
        lambda paths: cut_short(paths.timer_check),
    ],
    ids=["wheel missing", "wheel blank", "check from nowhere", "check cut short"],
)
def test_every_message_comes_once_whatever_is_lost_beside_the_units(small, damage):
    keys = waiting(small, 100)
    small.save()
    assert begun_anew(small, damage) == keys


def test_units_that_a_power_cut_took_are_written_again(small):
    keys = waiting(small, 100)

    def damage(paths):
        last = max(paths.timer_log.iterdir())
        content = bytearray(last.read_bytes())
        content[5 * 52 :] = bytes(len(content) - 5 * 52)
        last.write_bytes(content)

    assert begun_anew(small, damage) == keys


def test_a_message_that_comes_while_it_looks_is_no_older_than_its_unit(small, monkeypatch):
    bounds = QueueReader.bounds

    def bounds_a_second_later(reader, slot):
        small.now_ms += 1000
        small.send(TIMER_DELIVER_MS=small.now_ms + 2500)
        return bounds(reader, slot)

    with monkeypatch.context() as patched:
        patched.setattr(QueueReader, "bounds", bounds_a_second_later)
        assert small.look().units == 1
    end = small.store.log.end
    small.crash(stored=0)
    assert small.store.log.end == end


def test_a_wheel_of_another_size_is_refused(tmp_path):
    (tmp_path / "timerwheel").write_bytes(bytes(32))
    with pytest.raises(StoreError, match="has 32 bytes where a timer wheel has 38707200"):
        TimerWheel(tmp_path / "timerwheel")


def test_a_file_of_units_that_is_missing_in_the_middle_is_refused(small):
    waiting(small, 200)
    small.close()
    sorted(small.paths.timer_log.iterdir())[1].unlink()
    with pytest.raises(StoreError, match="is missing before"):
        small.open()
    (small.paths.timer_log / f"{UNIT_FILE_BYTES:020}").write_bytes(bytes(UNIT_FILE_BYTES))
    small.open()


def test_the_log_is_needed_from_the_first_message_that_waits(small):
    assert small.store.needed() == NONE
    small.send(TIMER_DELIVER_MS=NOW_MS + 1500)
    begin = small.small.store.end
    small.send(TIMER_DELIVER_MS=NOW_MS + 9500)
    assert small.store.needed() == 0
    small.look()
    assert small.store.needed() == 0
    small.pass_ms(3000)
    assert small.store.needed() == begin
    small.pass_ms(8000)
    assert small.store.needed() == NONE


def test_the_first_file_of_units_goes_once_their_messages_are_gone(small):
    waiting(small, 100)
    small.pass_ms(10_000)
    assert not small.store.trim(0)
    assert small.store.trim(small.small.store.end)
    assert not small.store.trim(small.small.store.end)
    assert small.store.log.begin == UNIT_FILE_BYTES


def test_the_check_file_says_what_is_durable(small):
    waiting(small, 3)
    small.pass_ms(10_000)
    small.save()
    check = read_timer_check(small.paths.timer_check)
    assert check.read_ms == NOW_MS + 10_000
    assert (check.log_flushed, check.queue_offset) == (3 * 52, 3)
    assert small.timers.durable_ms(0) == check.read_ms
