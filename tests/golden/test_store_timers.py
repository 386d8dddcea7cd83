"""RocketMQ's own bytes of timers, captured from its store (spec section 11), beside what they mean."""

import pytest

from shmq.broker.names import TIMER_TOPIC
from shmq.store import timer_wheel
from shmq.store.timer_check import TimerCheck, read_timer_check, write_timer_check
from shmq.store.timer_log import Unit, read_unit
from shmq.store.timer_wheel import TimerWheel
from tests.support.small_metadata import NOW_MS
from tests.support.small_timers import SmallTimers

SLOT_MS = 1_700_000_100_000
SLOT_AT = 16_387_200
SLOT = bytes.fromhex("000000006553f164 0000000000000000 0000000000000034 00000002 00000000")
CHECK = bytes.fromhex(
    "0000018bcfe6eab8 0000000000000068 0000000000000002 0000000000000002"
    "0000000000000000 0000018bcfe56800 0000000000000003"
)
UNIT = bytes.fromhex(
    "00000034 ffffffffffffffff 00000001 0000018bcfe56800 000186a0 0000000000000000 00000099 00000054 0000000000000000"
)
BLANK_TAIL = bytes.fromhex("0000000000000000 cbd43194")


def test_a_slot_of_the_wheel(tmp_path):
    wheel = TimerWheel(tmp_path / "timerwheel")
    for unit in (0, 52):
        timer_wheel.put(wheel.address, SLOT_MS // 1000, unit, 1)
    content = (tmp_path / "timerwheel").read_bytes()
    assert len(content) == 38_707_200
    assert content[SLOT_AT : SLOT_AT + 32] == SLOT
    assert not any(content[:SLOT_AT])
    assert wheel.last_of(SLOT_MS // 1000) == 52
    wheel.close()


def test_the_check_file(tmp_path):
    path = tmp_path / "timercheck"
    check = TimerCheck(1_700_000_099_000, 104, 2, 2, 0, 1_700_000_000_000, 3)
    write_timer_check(path, check, is_durable=True)
    assert path.read_bytes() == CHECK + bytes(4096 - len(CHECK))
    assert read_timer_check(path) == check


def test_a_unit_of_the_timer_log(tmp_path):
    small = SmallTimers(tmp_path)
    small.send(TIMER_DELIVER_MS=NOW_MS + 100_500)
    small.look()
    (message,) = small.delivered(topic=TIMER_TOPIC)
    content = bytearray((tmp_path / "timerlog" / ("0" * 20)).read_bytes()[:52])
    assert content[36:40] == message.total_size.to_bytes(4, "big")
    content[36:40] = bytes.fromhex("00000099")  # the captured record is another one, of 153 bytes
    assert bytes(content) == UNIT
    at = small.store.log.address_of(0)
    assert read_unit(at) == Unit(-1, 1, NOW_MS, 100_000, 0, message.total_size, 84, 0)
    small.close()


@pytest.mark.parametrize("count", [78, 100])
def test_a_full_file_ends_as_rocketmqs_do(tmp_path, count):
    small = SmallTimers(tmp_path)
    for _ in range(count):
        small.send(TIMER_DELIVER_MS=NOW_MS + 100_000)
    while not small.look().is_all:
        continue
    names = sorted(path.name for path in (tmp_path / "timerlog").iterdir())
    left = 4096 - 78 * 52
    first = (tmp_path / "timerlog" / ("0" * 20)).read_bytes()
    if count == 78:
        assert names == ["0" * 20]
        assert not any(first[-left:])
    else:
        assert names == ["0" * 20, f"{4096:020}"]
        assert first[-left:][:16] == left.to_bytes(4, "big") + BLANK_TAIL
    small.close()


def test_units_of_a_slot_lead_back(tmp_path):
    small = SmallTimers(tmp_path)
    for _ in range(3):
        small.send(TIMER_DELIVER_MS=NOW_MS + 5000)
    small.look()
    wheel = small.store.wheel
    last = wheel.last_of((NOW_MS + 4000) // 1000)
    assert [read_unit(small.store.log.address_of(at)).previous for at in (0, 52, last)] == [-1, 0, 52]
    small.close()
