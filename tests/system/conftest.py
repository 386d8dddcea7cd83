"""One broker for all tests that leave it as it was; its end shows that they did."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.shmq_process import ShmqBroker

SETTINGS: Final = {
    "network_workers": 2,
    "commit_log_file_bytes": "16MiB",
    "consume_queue_file_bytes": 20 * 1000,
    "output_bytes_max": "256KiB",
}


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    """A broker with two network workers, of which no process may end before it is stopped."""
    started = ShmqBroker(tmp_path_factory.mktemp("shared"), settings=SETTINGS)
    try:
        workers = set(started.workers())
        yield started
        assert set(started.workers()) == workers, "a process was restarted"
        faults = [line for line in started.log_lines() if line["level"] in {"error", "critical"}]
        assert not faults, faults
        started.stop()
    finally:
        started.discard()
