import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NewType

import numba
import numpy as np
import pytest

from shmq import jit
from shmq.store.queue_entry import QueueEntry

ROOT = Path(__file__).parents[2]
Position = NewType("Position", int)

SCRIPT = """
from shmq import jit
{imports}
compiled = list(jit.compile_kernels())
print(len(compiled), compiled[-1][1:] if compiled else "", jit.cache_directory())
"""


def run(imports, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(imports=imports)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_importing_compiles_nothing_and_compiling_tells_its_progress(tmp_path):
    count, done, total, folder = run(
        "import shmq.memory.crc32", SHMQ_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="0"
    )
    assert int(count) > 0
    assert (done, total) == (f"({count},", f"{count})")
    assert folder.startswith(f"{tmp_path}/shmq/kernels-")
    assert any((tmp_path / "shmq").rglob("*.nbi"))


def test_what_was_compiled_for_a_caller_is_found_by_a_later_process(tmp_path):
    script = (
        "from shmq import jit; import shmq.ring.spsc; import shmq.store.record\n"
        "done = list(jit.compile_kernels())\n"
        "print(len(done), sum(sum(each.stats.cache_misses.values()) for each, _ in jit._kernels))"
    )
    environment = os.environ | {"SHMQ_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    told = [
        subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    (count, compiled), (count_again, compiled_again) = ([int(each) for each in line] for line in told)
    assert compiled >= count > 0  # some for other types too, where a caller has them
    assert (count_again, compiled_again) == (count, 0)


def test_a_kernel_that_gives_what_it_does_not_state_is_refused():
    def gives_a_float(number: int) -> int:
        return number / 2

    compiled = numba.njit(gives_a_float)
    with pytest.raises(TypeError, match="gives_a_float gives float64, not int64"):
        jit._compile(compiled, gives_a_float)


def test_with_the_compiler_off_there_is_nothing_to_compile(tmp_path):
    count, _ = run("import shmq.ring.spsc", SHMQ_CACHE_DIR=str(tmp_path), NUMBA_DISABLE_JIT="1")
    assert count == "0"
    assert not any(tmp_path.iterdir())


def test_the_cache_lies_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("SHMQ_CACHE_DIR", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert str(jit.cache_directory()).startswith("/one/shmq/kernels-")
    monkeypatch.delenv("SHMQ_CACHE_DIR")
    assert str(jit.cache_directory()).startswith("/two/shmq/kernels-")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/three")
    assert str(jit.cache_directory()).startswith("/three/.cache/shmq/kernels-")


def test_a_signature_is_what_the_annotations_state():
    def function(a: int, b: jit.Words, c: jit.ReadBytes, d: Position, e: float) -> bool:
        return a == d and e > 0 and len(b) == len(c)

    signature = jit._signature(function)
    assert str(signature) == (
        "(int64, Array(int64, 1, 'C', False, aligned=True), Array(uint8, 1, 'C', True, aligned=True), "
        "int64, float64) -> bool"
    )


def test_records_of_integers_and_pairs_can_be_passed():
    def function(entry: QueueEntry) -> tuple[int, int]:
        return entry.position, entry.record_size

    assert jit._signature(function).return_type == jit._numba_type(tuple[int, int])
    assert jit._numba_type(QueueEntry).instance_class is QueueEntry


def test_what_a_kernel_cannot_take_is_said_by_name():
    class Mixed(NamedTuple):
        name: str

    for annotation in (str, dict[str, int], Mixed, np.ndarray):
        with pytest.raises(TypeError, match="no kernel type"):
            jit._numba_type(annotation)


APART = """
from shmq import jit

@jit.kernel_apart
def is_even(number: int) -> int:
    assert number >= 0, "a broken invariant"
    return int(number % 2 == 0)

@jit.kernel_apart
def halve(number: int, is_rounded_up: int) -> int:
    return number // 2 + (1 if is_rounded_up and is_even(number) == 0 else 0)

@jit.entry
def quarter(number: int) -> int:
    return halve(halve(number, 1), is_even(number))
"""
CALLS = """
import sys
import apart
from shmq import jit
{first}
print(apart.quarter(9), apart.halve(7, 1), apart.halve(7, 0), apart.is_even(4), apart.is_even(5))
if jit.JIT_ENABLED:
    print(sum(apart.quarter.stats.cache_hits.values()))
"""


def call_apart(folder, first="", **environment):
    (folder / "apart.py").write_text(APART)
    return subprocess.run(
        [sys.executable, "-c", CALLS.format(first=first)],
        env=os.environ
        | {
            "SHMQ_CACHE_DIR": str(folder / "cache"),
            "NUMBA_DISABLE_JIT": "0",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_compiled_for_themselves_are_found_by_callers_that_come_from_the_cache(tmp_path):
    """A caller that is loaded whole asks for the symbol at once, whoever it is first called by."""
    told = [call_apart(tmp_path).stdout.splitlines() for _ in range(2)]
    assert told == [["2 4 3 1 0", "0"], ["2 4 3 1 0", "1"]]
    compiled = call_apart(tmp_path, first="list(jit.compile_kernels())").stdout.splitlines()
    assert compiled == told[1]
    plain = call_apart(tmp_path, NUMBA_DISABLE_JIT="1").stdout.splitlines()
    assert plain == told[0][:1]


def test_a_broken_invariant_in_such_a_kernel_ends_the_process(tmp_path):
    done = call_apart(tmp_path, first="jit.die_of_broken_kernels(); apart.quarter(-3); print('alive')")
    assert done.returncode == -signal.SIGABRT
    assert "alive" not in done.stdout
    assert "a broken invariant" in done.stderr


def test_what_could_not_be_handed_over_in_c_is_refused():
    def gives_a_boolean(number: int) -> bool:
        return number > 0

    with pytest.raises(
        TypeError, match="gives_a_boolean is compiled for itself, so it can take and give integers"
    ):
        jit.Apart(gives_a_boolean)
