"""A hot kernel takes no more instructions for a record than it did: a regression shows here, whatever the machine does.

Bounds are some 1.4 times what x86-64 takes; another processor may need another compiler's idea of a loop. Whoever makes
a kernel dearer on purpose raises its bound in the same commit, and says what it buys.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

BOUNDS = {
    "crc32 of 1 KiB": 480,
    "ring: offer and take 128 B": 100,
    "writer: commit 128 B": 540,
    "dispatcher: entry of a record": 830,
    "indexer: key of a record": 1000,
    "histogram: record": 72,
    "worker and writer: send, JSON": 6600,
    "worker and writer: send, binary": 5300,
}


@pytest.fixture(scope="module")
def counted():
    """Instructions a record, by kernel, as a process of its own counts them (it forks)."""
    command = [sys.executable, "-m", "perf.instruction_counts"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return {name: float(count) for count, name in lines}


def test_every_kernel_that_is_counted_has_a_bound(counted):
    assert counted.keys() == BOUNDS.keys()


@pytest.mark.parametrize("name", BOUNDS)
def test_a_kernel_takes_no_more_instructions_than_it_may(counted, name):
    assert 0 < counted[name] <= BOUNDS[name]
