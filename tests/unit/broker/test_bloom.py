"""Positions in bit maps, as RocketMQ 5.3.3 finds them."""

import pytest

from shmq.broker.bloom import BloomFilter, murmur3_low


@pytest.mark.parametrize(
    ("errors", "count", "hashes", "bits"),
    [(20, 32, 3, 112), (1, 128, 7, 1232), (10, 128, 4, 616), (50, 128, 1, 192), (99, 128, 1, 8)],
)
def test_how_many_bits_there_are(errors, count, hashes, bits):
    assert BloomFilter.of(errors, count) == BloomFilter(hashes, bits)


@pytest.mark.parametrize(
    ("group", "topic", "positions"),
    [
        ("g", "TopicTest", (52, 60, 68)),
        ("a_group_with_a_long_name_x", "topic_of_the_same", (30, 102, 49)),
        ("", "", (3, 62, 22)),
        ("abcdefghijklmnop", "q", (47, 16, 97)),
        ("gruppe-ä", "topic", (41, 99, 45)),
    ],
)
def test_which_bits_stand_for_a_group(group, topic, positions):
    assert BloomFilter.of(20, 32).bits_of(group, topic).positions == positions


def test_nothing_hashes_to_zero():
    assert murmur3_low(b"") == 0
