"""Rounds as raw files hold them."""

import pytest

from perf.harness import Round

FIELDS = {
    "run": "1",
    "workload": "send",
    "target": "P1",
    "contestant": "shmq",
    "durability": "async flush",
    "number": 0,
    "is_quick": False,
    "figures": {"messages/s": 10.0},
    "histograms": {},
    "ping_pong_before_ns": 100.0,
    "ping_pong_after_ns": 100.0,
    "ping_pong_class": "NN",
    "machine": "a machine",
    "revision": "abc",
}


@pytest.fixture
def turn():
    """Makes a round, with a rate and whatever differs."""

    def make(rate=10.0, **other):
        return Round(**(FIELDS | {"figures": {"messages/s": rate}} | other))

    return make
