"""Whatever is spoilt of a store that was not closed: if all that is found is pending, recovery mends all of it.

And whatever it is, nothing is changed by looking, and the check comes to an end.
"""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.errors import StoreError
from tests.support.sound_store import SoundStore, patch

SPOILT = ("commitlog", "consumequeue", "index", "checkpoint", "index.checkpoint")
CONTENTS = (b"\0", b"\0" * 20, b"\0" * 300, b"\xff", b"\x01\x02", b"\x7f\xff\xff\xff", b"\0\0\0\0\0\0\0\x09")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A store with an index that is a little behind, and records that were not dispatched."""
    return SoundStore(tmp_path_factory.mktemp("original"), messages=130)


def copy_of(original: SoundStore, root: Path) -> SoundStore:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original.root, root)
    copy = SoundStore.__new__(SoundStore)
    copy.__dict__.update(original.__dict__)
    copy.root = root
    copy.paths = type(original.paths)(root)
    return copy


def files_of(root: Path) -> list[Path]:
    found = [path for name in SPOILT for path in sorted((root / name).rglob("*")) or [root / name]]
    return [path for path in found if path.is_file()]


wounds = st.lists(
    st.tuples(
        st.floats(0, 1), st.floats(0, 1), st.sampled_from(CONTENTS), st.sampled_from(("any", "late", "tail"))
    ),
    min_size=1,
    max_size=3,
)


def spoil(store: SoundStore, wound: tuple[float, float, bytes, str]) -> None:
    """Overwrite something: anywhere, or in the newest file of the log, or at its last records."""
    which, where, content, part = wound
    files = files_of(store.root)
    path = files[min(int(which * len(files)), len(files) - 1)]
    at = int(where * path.stat().st_size)
    if part != "any":
        path = store.log_file(store.end)
        begin = store.records[-3 if part == "tail" else -20][0] % store.log_file_bytes
        at = begin + int(where * (store.end % store.log_file_bytes - begin))
    patch(path, max(min(at, path.stat().st_size - len(content)), 0), content[: path.stat().st_size])


@settings(max_examples=100, deadline=None)
@given(wounds=wounds, is_closed=st.booleans())
def test_what_is_pending_is_mended(original, tmp_path_factory, wounds, is_closed):
    store = copy_of(original, tmp_path_factory.getbasetemp() / "copy")
    if not is_closed:
        store.crash()
    for wound in wounds:
        spoil(store, wound)
    before = {path: path.read_bytes() for path in files_of(store.root)}
    found = store.verify()
    assert {path: path.read_bytes() for path in files_of(store.root)} == before
    if any(not finding.is_pending for finding in found):
        return
    store.recover()
    assert store.verify() == []


@settings(max_examples=100, deadline=None)
@given(wounds=wounds)
def test_a_rebuilt_store_is_sound_or_what_is_wrong_is_in_the_log(original, tmp_path_factory, wounds):
    """Whatever was found in queues and index is gone when these are built anew."""
    store = copy_of(original, tmp_path_factory.getbasetemp() / "copy")
    for wound in wounds:
        spoil(store, wound)
    try:
        store.rebuild()
    except StoreError:
        return
    left = {finding.kind.value for finding in store.verify()}
    assert left <= {
        "record-checksum",
        "record-time",
        "queue-gap",
        "queue-duplicate",
        "record-queue-offset",
        "checkpoint",
    }
