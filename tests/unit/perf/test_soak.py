import pytest

from perf.soak import KEPT_FILES, Sample, give_back_blocks, grows, growth_and_noise


def samples(sizes):
    return [Sample(10.0 * number, size, 0.0, 1.0, 1.0) for number, size in enumerate(sizes)]


def test_memory_that_wavers_does_not_grow():
    growth, noise = growth_and_noise(samples([100, 103, 99, 101, 100, 102, 98, 101]))
    assert not grows(growth, noise)
    assert noise > 0


def test_memory_that_grows_by_a_little_each_time_is_found():
    growth, noise = growth_and_noise(samples([100 + 0.5 * number + number % 2 for number in range(40)]))
    assert growth == pytest.approx(20, rel=0.1)
    assert grows(growth, noise)


def test_one_outlier_is_no_growth():
    growth, noise = growth_and_noise(samples([100] * 20 + [180]))
    assert (growth, grows(growth, noise)) == (0, False)


def test_only_old_files_lose_their_blocks_and_none_its_size(tmp_path):
    for name in ("commitlog", "consumequeue/T/0"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(KEPT_FILES + 1):
            (tmp_path / name / f"{number:020}").write_bytes(b"x" * 8192)
    give_back_blocks(tmp_path)
    for name in ("commitlog", "consumequeue/T/0"):
        kept = [path.stat() for path in sorted((tmp_path / name).iterdir())]
        assert [each.st_size for each in kept] == [8192] * (KEPT_FILES + 1)
        assert [each.st_blocks > 0 for each in kept] == [False] + [True] * KEPT_FILES
