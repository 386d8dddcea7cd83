"""Recovery from whatever a power cut may leave: what the checkpoint vouches for, and any part of the rest."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.store.checkpoint import Checkpoint, CheckpointFile
from shmq.store.log_scan import verify_at
from shmq.store.queue_directory import queue_path
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths, mark_closed
from tests.support.store_on_disk import BASE_MS, LOG_BYTES, QUEUE_BYTES, QUEUES, Store, check, start

APPENDS = st.lists(st.tuples(st.sampled_from(QUEUES), st.integers(0, 900)), min_size=1, max_size=60)


@settings(max_examples=50, deadline=None)
@given(APPENDS, APPENDS, st.data())
def test_a_power_cut_loses_nothing_that_was_on_disk(
    before: list[tuple[tuple[bytes, int], int]],
    after: list[tuple[tuple[bytes, int], int]],
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as root:
        store = Store(StorePaths(Path(root)))
        for queue, body_bytes in before:
            store.append(queue, body_bytes)
        check(store, start(store))
        vouched = data.draw(st.integers(0, len(before) - 1), label="the newest message of the checkpoint")
        durable = cut_power(store, vouched, data)
        check(store, start(store))
        assert store.end >= durable
        for queue, body_bytes in after:
            store.append(queue, body_bytes)
        check(store, start(store))
        mark_closed(store.paths)
        check(store, start(store))


def cut_power(store: Store, vouched: int, data: st.DataObject) -> int:
    """Lose any of the units and a part of the log that the checkpoint does not vouch for."""
    time_ms = BASE_MS + 1000 * vouched
    file = CheckpointFile(store.paths.checkpoint)
    file.write(Checkpoint(time_ms, time_ms))
    file.close()
    durable = max(message.position for message in store.messages[: max(vouched - 3, 0) + 1])
    durable = durable // LOG_BYTES * LOG_BYTES
    loose = [message for message in store.messages if message.position >= durable]
    for message in data.draw(st.lists(st.sampled_from(loose), unique_by=id), label="lost units"):
        at = 20 * message.offset
        path = queue_path(store.paths.consumequeue, *message.queue) / file_name(
            at // QUEUE_BYTES * QUEUE_BYTES
        )
        content = bytearray(path.read_bytes())
        content[at % QUEUE_BYTES : at % QUEUE_BYTES + 20] = bytes(20)
        path.write_bytes(content)
    if data.draw(st.booleans(), label="the log is hurt"):
        victim = data.draw(st.sampled_from(loose), label="the first lost record")
        begin = data.draw(st.integers(0, victim.size - 1), label="where in it")
        size = data.draw(st.integers(1, victim.size - begin), label="how many bytes")
        hurt = store.read(victim.position + begin, size)
        store.write(victim.position + begin, bytes(byte ^ 0x5A for byte in hurt))
        if is_still_whole(store, victim.position, victim.size):
            store.write(victim.position + begin, hurt)
        else:
            store.lose_from(victim.position)
    return min(durable, store.end)


def is_still_whole(store: Store, position: int, size: int) -> bool:
    """Whether what was hurt is still a record to recovery: no checksum covers all of one."""
    segment = store.segment(position)
    whole = verify_at(segment.address + position - segment.start, size, position, check_crc=True) == size
    segment.close()
    return whole
