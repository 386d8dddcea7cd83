"""Messages with a moment of their own, on a running broker: each comes once, whichever process dies, and never too early."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

SETTINGS: Final = {
    "network_workers": 1,
    "commit_log_file_bytes": "4MiB",
    "timer_log_file_bytes": 4096,
    "recall_message_enable": "true",
    "restart_delay_ms_min": 10,
    "restart_delay_ms_max": 50,
    "restarts_max": 100,
}
DEADLINE_S: Final = 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    yield started
    started.discard()


def send_timed(remote: Remote, topic: str, key: str, **asked: int) -> Command:
    """Send a message whose body is its key."""
    texts = {"UNIQ_KEY": key} | {name: str(value) for name, value in asked.items()}
    text = "".join(f"{name}\x01{value}\x02" for name, value in texts.items())
    answer = remote.send(topic, key.encode(), properties=text)
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    return answer


def wait_for_more(broker: ShmqBroker, topic: str, count: int) -> None:
    """Wait until another message has come, if not all have."""
    with Remote(broker.address) as remote:
        before = remote.max_offset(topic, 0)
        eventually(lambda: before == count or remote.max_offset(topic, 0) > before, DEADLINE_S)


def wait_for(broker: ShmqBroker, topic: str, count: int) -> dict[str, int]:
    """Wait until so many messages have come; return when each was stored. None may come twice, or beyond those."""
    found: list[tuple[str, int]] = []
    with Remote(broker.address) as remote:

        def has_all() -> bool:
            if remote.max_offset(topic, 0) < count:
                return False
            messages = remote.read_queue(topic, 0)
            found[:] = [(message.body.decode(), message.store_timestamp_ms) for message in messages]
            return len(found) >= count

        eventually(has_all, DEADLINE_S)
    doubled = [key for key, times in Counter(key for key, _ in found).items() if times > 1]
    assert not doubled, f"{len(doubled)} came twice, such as {doubled[:3]}"
    assert len(found) == count
    return dict(found)


def kill(broker: ShmqBroker, name: str) -> None:
    """Kill a process, and wait until it is gone."""
    victims = [worker for worker in broker.workers() if worker.name() == f"shmq-{name}"]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=30)


def test_messages_come_at_their_moments_and_what_is_taken_back_does_not(broker: ShmqBroker) -> None:
    with Remote(broker.address) as remote:
        begin_ms = time.time_ns() // 1_000_000
        moments = {f"k{number}": begin_ms + 1500 + 37 * number for number in range(60)}
        handles = {
            key: send_timed(remote, "moments", key, TIMER_DELIVER_MS=moment_ms).fields["recallHandle"]
            for key, moment_ms in moments.items()
        }
        late_ms = begin_ms + 3000
        recalled = [key for key, moment_ms in moments.items() if moment_ms >= late_ms][:5]
        for key in recalled:
            fields = {"topic": "moments", "recallHandle": handles[key]}
            answer = remote.call(Command(code=RequestCode.RECALL_MESSAGE, fields=fields))
            assert (answer.code, answer.fields["msgId"]) == (ResponseCode.SUCCESS, key)
        stored = wait_for(broker, "moments", len(moments) - len(recalled))
        assert not set(recalled) & set(stored)
        lateness = [stored[key] - moments[key] for key in stored]
        assert min(lateness) >= 0
        metrics = remote.call(Command(code=RequestCode.GET_TIMER_METRICS))
        assert "moments" in json.loads(metrics.body)["timingCount"]
        check = remote.call(Command(code=RequestCode.GET_TIMER_CHECK_POINT))
        assert len(check.body) == 56
    broker.stop()


@pytest.mark.parametrize(
    "victims", [["conductor"], ["writer", "dispatcher"], ["conductor", "writer", "net-0"]]
)
def test_no_timer_is_lost_or_doubled_whichever_process_dies(broker: ShmqBroker, victims: list[str]) -> None:
    count = 2000
    with Remote(broker.address) as remote:
        for number in range(count):
            send_timed(remote, "kill", f"k{number}", TIMER_DELAY_MS=1000 + number % 3000)
    for _ in range(6):
        for name in victims:
            kill(broker, name)
        eventually(lambda: len(broker.workers()) >= 5, DEADLINE_S)
        wait_for_more(broker, "kill", count)  # the next kill meets other deliveries
    wait_for(broker, "kill", count)
    broker.stop()


def test_timers_survive_the_death_of_all_processes_and_a_clean_end(tmp_path: Path) -> None:
    count = 1500
    for life in range(3):
        broker = ShmqBroker(tmp_path, settings=SETTINGS)
        try:
            if life == 0:
                with Remote(broker.address) as remote:
                    for number in range(count):
                        send_timed(remote, "lives", f"k{number}", TIMER_DELAY_MS=2500 + number)
                broker.kill()
            elif life == 1:
                broker.stop()
            else:
                wait_for(broker, "lives", count)
                broker.stop()
        finally:
            broker.discard()
