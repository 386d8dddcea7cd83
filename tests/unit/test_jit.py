import os
import subprocess
import sys
from typing import NamedTuple, NewType

import numba
import numpy as np
import pytest

from shmq import jit
from shmq.store.queue_entry import QueueEntry

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
