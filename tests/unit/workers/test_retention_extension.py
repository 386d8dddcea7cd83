"""Retention of a store whose queues have extensions."""

import shutil
from dataclasses import replace

from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import LAYOUT
from shmq.store.queue_extension import BASE
from shmq.store.segment import named_starts
from tests.support.store_on_disk import QUEUES, crash, made_store
from tests.unit.workers.test_retention import Ground, looked

EXTENSION_BYTES = 100  # four units


class ExtendedGround(Ground):
    """One whose queues recovery has made, with a unit of each message."""

    def __post_init__(self):
        self.store = made_store(self.root)
        shutil.rmtree(self.store.paths.consumequeue)
        self.store.sizes = replace(self.store.sizes, extension_file_bytes=EXTENSION_BYTES)
        crash(self.store)
        self.open()

    def extension(self, queue):
        return named_starts(queue_path(self.store.paths.extensions, *queue))


def first_address(ground, queue):
    """Where the first entry that is shown leads to."""
    offset, _ = ground.bounds(queue)
    folder = queue_path(ground.store.paths.consumequeue, *queue)
    (start,) = [each for each in named_starts(folder) if each <= offset * LAYOUT.itemsize < each + 200]
    content = (folder / f"{start:020d}").read_bytes()
    at = offset * LAYOUT.itemsize - start
    return int.from_bytes(content[at + 12 : at + 20], "big", signed=True) - BASE


def test_files_of_an_extension_go_with_the_entries_that_led_to_them(tmp_path):
    ground = ExtendedGround(tmp_path)
    before = {queue: ground.extension(queue) for queue in QUEUES}
    ground.age([100, 100, 100])
    looked(ground.retention(delete_hours=tuple(f"{hour:02d}" for hour in range(24))))
    assert ground.marks.trimmed > 0
    ground.check_trimmed(ground.marks.trimmed)
    for queue in QUEUES:
        offset = first_address(ground, queue)
        assert ground.extension(queue) == [each for each in before[queue] if each + EXTENSION_BYTES > offset]
        assert ground.extension(queue) != before[queue]
