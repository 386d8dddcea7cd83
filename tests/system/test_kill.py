"""kill -9 of each process in turn, under load: the broker goes on, and nothing acknowledged is lost or doubled.

Neither in the queues nor in the key index.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.load import Acknowledged, assert_all_found_by_key, assert_all_there, load_on
from tests.support.shmq_process import ShmqBroker

KILLS: Final = 10
SETTINGS: Final = {
    "network_workers": 2,
    "commit_log_file_bytes": "256KiB",  # so that files roll while processes die
    "key_index_slots": 300,
    "key_index_entries": 1000,
    "restart_delay_ms_min": 10,
    "restart_delay_ms_max": 50,
    "restarts_max": 100,
    "send_wait_ms_max": 10_000,
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    yield started
    started.discard()


def process_named(broker: ShmqBroker, name: str) -> psutil.Process:
    """The child of that name, once there is one."""
    while True:
        for worker in broker.workers():
            try:
                if worker.name() == f"shmq-{name}" and worker.status() != psutil.STATUS_ZOMBIE:
                    return worker
            except psutil.NoSuchProcess:
                continue


@pytest.mark.parametrize("name", ["writer", "dispatcher", "conductor", "registrar", "net-0", "net-1"])
def test_the_broker_survives_the_death_of_one_of_its_processes(broker: ShmqBroker, name: str) -> None:
    topic = f"kill-{name}"
    with load_on(broker.address, topic) as load:
        load.wait_for_more(50)
        for _ in range(KILLS):
            victim = process_named(broker, name)
            victim.kill()
            psutil.wait_procs([victim], timeout=30)
            load.wait_for_more(100)
    assert_all_there(broker.address, topic, load.acknowledged)
    assert_all_found_by_key(broker.address, topic, load.acknowledged)
    broker.stop()


@pytest.mark.parametrize("flush_disk_type", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_with_a_transient_pool_the_death_of_the_writer_loses_nothing(
    tmp_path: Path, flush_disk_type: str
) -> None:
    settings = {**SETTINGS, "transient_pool": "true", "flush_disk_type": flush_disk_type}
    broker = ShmqBroker(tmp_path, settings=settings)
    try:
        with load_on(broker.address, "pool") as load:
            load.wait_for_more(50)
            for _ in range(KILLS):
                victim = process_named(broker, "writer")
                victim.kill()
                psutil.wait_procs([victim], timeout=30)
                load.wait_for_more(100)
        assert_all_there(broker.address, "pool", load.acknowledged)
        broker.stop()
    finally:
        broker.discard()


@pytest.mark.parametrize("flush_disk_type", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_the_death_of_all_processes_at_once_loses_nothing_acknowledged(
    tmp_path: Path, flush_disk_type: str
) -> None:
    settings = {**SETTINGS, "flush_disk_type": flush_disk_type}
    acknowledged: list[Acknowledged] = []
    for life in range(4):
        broker = ShmqBroker(tmp_path, settings=settings)
        try:
            with load_on(broker.address, "kill-all", tag=str(life)) as load:
                load.wait_for_more(200)
                if life < 3:
                    broker.kill()
            acknowledged += load.acknowledged
            if life == 3:
                assert_all_there(broker.address, "kill-all", acknowledged)
                assert_all_found_by_key(broker.address, "kill-all", acknowledged)
                broker.stop()
        finally:
            broker.discard()
