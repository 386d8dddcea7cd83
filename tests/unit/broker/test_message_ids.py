"""Ids of messages."""

import random
from datetime import datetime

import pytest

from shmq.broker.message_ids import UniqueIds, offset_id
from shmq.store.host import Host


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (b"\x7f\x00\x00\x01", "7F00000100002A9F0000000000000064"),
        (bytes(15) + b"\x01", "00" * 15 + "0100002A9F0000000000000064"),
    ],
)
def test_an_offset_id_names_broker_and_position(address, expected):
    assert offset_id(Host(address, 10911), 100) == expected


def test_a_unique_id_holds_the_address_and_the_time_since_the_month_began():
    now = datetime(2024, 2, 3, 4, 5, 6, 789000).astimezone()  # local time, as its readers take it
    made = UniqueIds(random.Random(1)).make(b"\x01\x02\x03\x04", round(now.timestamp() * 1000))
    assert made[:8] == "01020304"
    assert int(made[20:28], 16) == ((2 * 24 + 4) * 3600 + 5 * 60 + 6) * 1000 + 789


def test_no_id_is_made_twice():
    makers = [UniqueIds(random.Random(seed)) for seed in range(4)]
    ids = [maker.make(b"\x01\x02\x03\x04", 1_700_000_000_000) for maker in makers for _ in range(500)]
    assert len(set(ids)) == len(ids)
