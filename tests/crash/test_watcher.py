"""The watcher and the cuts, on programs so small that every possible disk can be told beforehand."""

import errno
import sys
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.crash.cut import Fate, make_image
from tests.crash.journal import PAGE_BYTES, Journal, possible_at
from tests.crash.system_calls import is_permitted
from tests.crash.watcher import Lie, Rule, Watcher, launched_under
from tests.support.processes import Process

pytestmark = pytest.mark.skipif(
    not is_permitted(), reason="seccomp's user notification is not permitted here"
)

DEADLINE_S: Final = 60.0
HEAD: Final = "import mmap, os; root = os.open('.', os.O_RDONLY)\n"
MAPPED: Final = """
file = os.open('f', os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8192)
os.fsync(file)
os.fsync(root)
bytes_of = mmap.mmap(file, 8192)
"""


def watch(directory: Path, program: str, rule: Rule | None = None) -> Journal:
    """Run a program in a directory that is watched."""
    root = directory / "root"
    watcher = Watcher(root, seed=1, sync_s=0.001, rule=rule)
    with watcher:
        command = [*launched_under(watcher.socket_path), sys.executable, "-c", HEAD + program]
        with Process(command, log_path=directory / "log", directory=root) as process:
            if process.wait_exit(DEADLINE_S) != 0:
                raise process.failure("failed")
    return watcher.journal


def outcomes(journal: Journal, moment: int, directory: Path) -> set[tuple[tuple[str, bytes], ...]]:
    """What may be found, by name and content, when the power goes after a moment: as many fates as are likely to show all."""
    found = set()
    for seed in range(200):
        image = directory / f"image-{moment}-{seed}"
        make_image(journal, moment, Fate(Random(seed)), image)
        found.add(tuple(sorted((path.name, path.read_bytes()) for path in image.iterdir())))
    return found


def test_a_page_is_old_or_new_or_torn_until_its_range_is_synced(tmp_path: Path) -> None:
    journal = watch(
        tmp_path,
        MAPPED
        + "bytes_of[:] = b'a' * 8192\nbytes_of.flush(0, 4096)\nbytes_of[:] = b'b' * 8192\nbytes_of.flush(0, 8192)",
    )
    (file,) = journal.files.values()
    first, second = [moment for moment, name in journal.syncs if name == "msync"]
    a, b = b"a" * PAGE_BYTES, b"b" * PAGE_BYTES
    assert possible_at(file.pages[0], first)[0] == a
    assert possible_at(file.pages[1], first) == [b"", a]
    assert possible_at(file.pages[0], second - 1) == [a, b]
    assert possible_at(file.pages[1], second - 1) == [b"", a, b]
    assert possible_at(file.pages[0], second) == possible_at(file.pages[1], second) == [b]
    torn = {content for ((_, content),) in outcomes(journal, second - 1, tmp_path)}
    assert {a[:512], b[:512]} == {
        content[at : at + 512] for content in torn for at in range(0, PAGE_BYTES, 512)
    }
    assert any(len({content[at] for at in range(0, PAGE_BYTES, 512)}) == 2 for content in torn)
    assert outcomes(journal, second, tmp_path) == {(("f", b + b),)}


def test_a_name_is_certain_when_its_directory_is_synced(tmp_path: Path) -> None:
    write = "with open('new', 'wb') as new:\n    new.write(b'2'); new.flush(); os.fsync(new.fileno())\n"
    journal = watch(
        tmp_path,
        "with open('x', 'wb') as x:\n    x.write(b'1'); x.flush(); os.fsync(x.fileno())\nos.fsync(root)\n"
        + write
        + "os.rename('new', 'x')\nos.fsync(root)",
    )
    *_, certain = [moment for moment, name in journal.syncs if name == "fsync"]
    old, drafted, new = (("x", b"1"),), (("new", b"2"), ("x", b"1")), (("x", b"2"),)
    assert outcomes(journal, certain - 1, tmp_path) == {old, drafted, new}
    assert outcomes(journal, certain, tmp_path) == {new}


def test_a_file_that_was_not_synced_may_be_empty(tmp_path: Path) -> None:
    journal = watch(tmp_path, "with open('x', 'wb') as x: x.write(b'1' * 5000)\nos.fsync(root)")
    contents = {found[0][1] for found in outcomes(journal, journal.moment, tmp_path)}
    assert b"" in contents
    assert b"1" * 5000 in contents
    assert b"1" * PAGE_BYTES + bytes(5000 - PAGE_BYTES) in contents


def test_a_file_without_a_name_is_there_with_what_was_synced_when_it_gets_one(tmp_path: Path) -> None:
    journal = watch(
        tmp_path,
        "file = os.open('.', os.O_TMPFILE | os.O_RDWR)\nos.posix_fallocate(file, 0, 4096)\nos.pwrite(file, b'z', 0)\n"
        "os.fsync(file)\nos.link(f'/proc/self/fd/{file}', 'x', src_dir_fd=file, follow_symlinks=True)\nos.fsync(root)",
    )
    whole = (("x", b"z" + bytes(4095)),)
    *_, certain = [moment for moment, _ in journal.syncs]
    assert outcomes(journal, certain - 1, tmp_path) == {(), whole}
    assert outcomes(journal, certain, tmp_path) == {whole}


def test_a_system_call_by_its_number_is_seen(tmp_path: Path) -> None:
    """As our kernels make them, past libc's names."""
    program = MAPPED + (
        "import ctypes, platform\n"
        "number = {'x86_64': 26, 'aarch64': 227}[platform.machine()]\n"
        "bytes_of[:1] = b'a'\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(bytes_of))\n"
        "call = ctypes.CDLL(None).syscall\n"
        "assert call(*map(ctypes.c_long, (number, address, 4096, 4))) == 0\n"
    )
    journal = watch(tmp_path, program)
    assert [name for _, name in journal.syncs] == ["fsync", "fsync", "msync"]


@pytest.mark.parametrize(
    ("verdict", "program"),
    [
        (Lie.NEVER, "os.fsync(file)\nos._exit(0)"),
        (
            errno.EIO,
            "try:\n    os.fsync(file)\nexcept OSError as error:\n    os._exit(error.errno != 5)\nos._exit(1)",
        ),
    ],
)
def test_a_sync_that_does_not_take_place_makes_nothing_durable(
    tmp_path: Path, verdict: Lie | int, program: str
) -> None:
    def rule(call: str, path: str) -> Lie | int | None:
        return verdict if call == "fsync" and path.endswith("/x") else None

    journal = watch(
        tmp_path,
        "file = os.open('x', os.O_RDWR | os.O_CREAT)\nos.write(file, b'1')\nos.fsync(root)\n" + program,
        rule,
    )
    contents = {found[0][1] for found in outcomes(journal, journal.moment, tmp_path)}
    assert contents >= {b"", b"1"}


def test_changes_in_a_directory_are_lost_from_the_last_one_on(tmp_path: Path) -> None:
    program = "for name in 'abc':\n    os.mkdir(name)\n"
    journal = watch(tmp_path, program)

    def names(seed: int) -> str:
        image = tmp_path / f"names{seed}"
        make_image(journal, journal.moment, Fate(Random(seed)), image)
        return "".join(sorted(path.name for path in image.iterdir()))

    assert {names(seed) for seed in range(200)} == {"", "a", "ab", "abc"}
