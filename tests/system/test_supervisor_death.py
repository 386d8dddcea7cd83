"""kill -9 of the supervisor under load: a new one waits for the orphans, and nothing acknowledged is lost."""

from pathlib import Path

from tests.support.load import Acknowledged, assert_all_there, load_on
from tests.support.shmq_process import ShmqBroker


def test_a_new_supervisor_follows_a_dead_one_at_once(tmp_path: Path) -> None:
    settings = {"network_workers": 2, "commit_log_file_bytes": "256KiB"}
    acknowledged: list[Acknowledged] = []
    for life in range(4):
        broker = ShmqBroker(tmp_path, settings=settings, broker_name=f"orphans-{tmp_path.name}")
        try:
            with load_on(broker.address, "orphans", tag=str(life)) as load:
                load.wait_for_more(200)
                if life < 3:
                    broker.process.signal(9)  # alone: its children find out by themselves
            acknowledged += load.acknowledged
            if life == 3:
                assert_all_there(broker.address, "orphans", acknowledged)
                broker.stop()
        finally:
            broker.process.wait_exit(30)
