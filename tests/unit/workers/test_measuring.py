"""What runtime information says of the store."""

import pytest

from shmq.broker.store_reader import StoreReader
from shmq.memory.words import store_word
from shmq.shared import commit, gates
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import DISPATCHED, FLUSHED
from shmq.workers.measuring import measure
from shmq.workers.sweeping import used_percent
from tests.support.writer_ground import WriterGround, message
from tests.support.writer_lives import NOW_MS, BareWriter


def measured(ground):
    config = ground.config
    log = LogReader(ground.paths.commitlog, config.commit_log_file_bytes)
    reader = QueueReader(ground.paths.consumequeue, StoreSizes.of(config), ground.memory.queues, log)
    found = measure(ground.memory, ground.paths, StoreReader(reader))
    reader.close()
    return found


def test_an_empty_store_has_no_first_message(tmp_path):
    ground = WriterGround(tmp_path)
    found = measured(ground)
    ratio = str(used_percent(tmp_path) / 100)
    assert found.pop("commitLogDirCapacity").startswith("Total : ")
    assert found == {
        "commitLogDiskRatio": ratio,
        f"commitLogDiskRatio_{ground.paths.commitlog}": ratio,
        "commitLogMaxOffset": "0",
        "commitLogMinOffset": "0",
        "consumeQueueDiskRatio": ratio,
        "dispatchBehindBytes": "0",
        "earliestMessageTimeStamp": "-1",
        "messagesRefusedBecause": "",
        "remainHowManyDataToFlush": "0 B",
        "runningFlags": "0",
    }


def test_it_says_what_is_behind_and_that_the_disk_is_full(tmp_path):
    ground = WriterGround(tmp_path)
    writer = BareWriter(ground)
    ground.submit(message(body=b"x" * 3000))
    assert writer.turn(now_ms=NOW_MS) == commit.COMMITTED
    marks = ground.memory.watermarks
    store_word(marks.address + FLUSHED, 1000)
    store_word(marks.address + DISPATCHED, 500)
    store_word(ground.memory.place("gates") + gates.DISK_FULL, 1)
    found = measured(ground)
    assert found["commitLogMaxOffset"] == str(marks.appended)
    assert found["dispatchBehindBytes"] == str(marks.appended - 500)
    assert found["remainHowManyDataToFlush"] == f"{(marks.appended - 1000) / 1024:.1f} KiB"
    assert found["earliestMessageTimeStamp"] == str(NOW_MS)
    assert found["runningFlags"] == "16"


@pytest.mark.parametrize(
    ("words", "flags", "because"),
    [
        ((gates.DISK_FULL,), "16", "DISK_FULL"),
        ((gates.SYNC_FAILED,), "2", "SYNC_FAILED"),
        ((gates.POOL_STUCK,), "2", "POOL_STUCK"),
        ((gates.DISK_FULL, gates.SYNC_FAILED), "18", "DISK_FULL, SYNC_FAILED"),
    ],
)
def test_it_says_why_messages_are_refused(tmp_path, words, flags, because):
    ground = WriterGround(tmp_path)
    for word in words:
        store_word(ground.memory.place("gates") + word, 1)
    found = measured(ground)
    assert (found["runningFlags"], found["messagesRefusedBecause"]) == (flags, because)
