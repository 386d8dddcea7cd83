import pytest

from shmq.config.units import read_bytes, read_ms, show_bytes, show_ms


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096b", 4096),
        ("64KiB", 65_536),
        ("64 kb", 65_536),
        ("16m", 16 << 20),
        ("1g", 1 << 30),
        ("1GiB", 1 << 30),
        ("2T", 2 << 40),
    ],
)
def test_sizes_take_units_of_1024(text, count):
    assert read_bytes(text) == count


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5g", "1x", "1ib", "٣"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is not a size"):
        read_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("500", 500), ("500ms", 500), ("5s", 5000), ("2 m", 120_000), ("1H", 3_600_000), ("1d", 86_400_000)],
)
def test_durations_take_units_and_are_milliseconds_without(text, duration_ms):
    assert read_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "s", "-1", "1.5s", "1w"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        read_ms(text)


def test_what_is_shown_reads_as_the_same_number():
    for number in (0, 1, 500, 1000, 1024, 1500, 60_000, 65_536, 6_000_000, 1 << 30, 3 << 40):
        assert read_bytes(show_bytes(number)) == number
        assert read_ms(show_ms(number)) == number
