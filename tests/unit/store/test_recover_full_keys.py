"""What recovery lets the checkpoint say of the key index, for a RocketMQ broker that opens the store."""

import pytest

from shmq.store.checkpoint import Checkpoint, CheckpointFile, read_checkpoint
from shmq.store.key_files import list_key_files
from shmq.store.key_mark import write_key_mark
from shmq.store.recover import Tables, recover
from shmq.store.store_files import StorePaths, StoreSizes
from tests.support.indexed_store import IndexedStore
from tests.support.small_store import new_queues, new_topics

MESSAGES = 34  # ten entries a file


@pytest.mark.parametrize("is_marked", [True, False])
def test_full_files_that_are_left_are_vouched_for(tmp_path, is_marked):
    """After an unclean end RocketMQ drops all others."""
    store = IndexedStore(tmp_path)
    for number in range(MESSAGES):
        store.add(f"u{number}", f"k{number % 3}")
    store.run_index()
    paths = StorePaths(tmp_path)
    if is_marked:
        write_key_mark(paths.index_checkpoint, store.keys.mark(store.end))
    before = CheckpointFile(paths.checkpoint)
    before.write(Checkpoint(index_timestamp_ms=1))
    before.close()
    full = list_key_files(paths.index)[-2].read_bytes()
    sizes = StoreSizes(store.log_file_bytes, store.queue_file_bytes, store.shape)
    tables = Tables(new_topics(), new_queues(), [1000])
    recovered = recover(paths, sizes, tables, clean_exit=False, now_ms=store.now_ms, progress=str)
    expected = int.from_bytes(full[8:16]) if is_marked else 0
    assert recovered.full_keys_ms == read_checkpoint(paths.checkpoint).index_timestamp_ms == expected
