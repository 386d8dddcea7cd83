"""The checkpoint: RocketMQ's bytes, and what of it is believed."""

from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.checkpoint import Checkpoint, CheckpointFile, read_checkpoint


def test_a_new_checkpoint_is_zeros_of_4096_bytes(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    assert file.read() == Checkpoint()
    assert (tmp_path / "checkpoint").read_bytes() == bytes(4096)
    file.close()
    file.close()


def test_a_checkpoint_is_five_big_endian_words(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(Checkpoint(1700000000123, 2, 3, 4, 5))
    words = bytes.fromhex("0000018bcfe5687b") + b"".join(n.to_bytes(8, "big") for n in (2, 3, 4, 5))
    assert (tmp_path / "checkpoint").read_bytes() == words + bytes(4096 - 40)
    file.close()
    assert read_checkpoint(tmp_path / "checkpoint") == Checkpoint(1700000000123, 2, 3, 4, 5)
    again = CheckpointFile(tmp_path / "checkpoint")
    assert again.read() == Checkpoint(1700000000123, 2, 3, 4, 5)
    again.close()


def test_a_missing_or_short_checkpoint_reads_as_zeros(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "checkpoint") == Checkpoint()
    assert not (tmp_path / "checkpoint").exists()
    (tmp_path / "checkpoint").write_bytes(bytes([1]) * 39)
    assert read_checkpoint(tmp_path / "checkpoint") == Checkpoint()


@pytest.mark.parametrize(("log", "queues", "safe"), [(10000, 9000, 6000), (5000, 9000, 2000), (100, 9000, 0)])
def test_the_safe_time_is_three_seconds_before_the_older(log: int, queues: int, safe: int) -> None:
    assert Checkpoint(log, queues).safe_timestamp_ms == safe


@pytest.mark.parametrize("times", [(1001, 500), (500, 1001), (-1, 500)])
def test_impossible_times_are_not_believed(times: tuple[int, int]) -> None:
    assert Checkpoint(*times).believed(newest_ms=1000, now_ms=2000) == Checkpoint()
    assert Checkpoint(*times).believed(newest_ms=2000, now_ms=1000) == Checkpoint()


def test_possible_times_are_believed() -> None:
    checkpoint = Checkpoint(1000, 900, 5, 6, 7)
    assert checkpoint.believed(newest_ms=1000, now_ms=1000) == checkpoint


def test_a_checkpoint_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="checkpoint"):
        CheckpointFile(tmp_path / "absent" / "checkpoint")
