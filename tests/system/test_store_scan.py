"""A store is read as data while its broker writes: what is there is whole and in order, and nothing is in the way."""

import numpy as np
import pytest

import shmq.store
from shmq.local.producer import LocalProducer
from tests.support.shmq_process import ShmqBroker

BATCHES = 100
BATCH = 500
SETTINGS = {
    "network_workers": 1,
    "local_sessions_max": 4,
    "commit_log_file_bytes": "4MiB",
    "consume_queue_file_bytes": 20 * 10_000,
}


@pytest.fixture
def broker(tmp_path):
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    try:
        yield started
        started.stop()
    finally:
        started.discard()


class Numbers:
    """Messages whose bodies say which they are, sent a few at a time."""

    def __init__(self, producer):
        self._producer = producer
        self.sent = 0

    def send(self, until="appended"):
        """Send some that are in the log when it returns, and some that the writer has yet to take."""
        for ends_there in (True, False):
            if self.sent < BATCHES * BATCH:
                numbers = np.arange(self.sent, self.sent + BATCH, dtype=np.int64)
                self._producer.send_array(numbers.view(np.uint8).reshape(BATCH, 8))
                self.sent += BATCH
            if ends_there:
                self._producer.flush(until)


def read(root, between, **asked):
    """How many messages of the topic there are, each in its place; something happens with each batch."""
    count = 0
    for batch in shmq.store.scan(root, topic="scanned", batch_messages=700, **asked):
        rows = batch.records
        expected = np.arange(count, count + len(rows))
        assert (rows["queue_offset"] == expected).all()
        assert (rows["body_bytes"] == 8).all()
        bodies = batch.log[rows["body_at"][:, np.newaxis] + np.arange(8)].view(np.int64)[:, 0]
        assert (bodies == expected).all()
        count += len(rows)
        between()
    return count


@pytest.mark.parametrize(("asked", "until"), [({}, "appended"), ({"queue_id": 0}, "dispatched")])
def test_a_scan_follows_a_broker_that_writes(broker, asked, until):
    """It ends where the log does: not before all is sent, as more is in the log when it asks for the next batch."""
    with LocalProducer(broker.broker_name, "scanned", queue_id=0) as producer:
        numbers = Numbers(producer)
        numbers.send(until)
        producer.flush(
            until
        )  # a batch that is not full is the last: from here on there is always more than one
        count = read(broker.store_root, lambda: numbers.send(until), **asked)
        assert numbers.sent == BATCHES * BATCH
        assert numbers.sent - BATCH <= count <= numbers.sent
        producer.flush("dispatched")
        assert read(broker.store_root, lambda: None, **asked) == numbers.sent
