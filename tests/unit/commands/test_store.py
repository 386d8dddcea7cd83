"""`shmq store` as it is typed: what it prints, how it ends, and that looking changes nothing."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from shmq.cli import main
from shmq.commands.store import COMMANDS
from shmq.store.store_files import StorePaths, was_left_open
from tests.support.sound_store import SHAPE, SoundStore

HOLD = """
import sys
from pathlib import Path
from shmq.store.store_files import StoreLock, StorePaths
lock = StoreLock(StorePaths(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path / "store", messages=80)


@pytest.fixture
def run(store, monkeypatch):
    """Run `shmq store`, with the settings that cannot be found out from so small a store's files."""
    for name in [name for name in os.environ if name.startswith("SHMQ_")]:
        monkeypatch.delenv(name)
    levels = ("--set", "message_delay_levels=1s 5s 10s", "--set", f"key_index_entries={SHAPE.entries}")
    where = ("--store-root", str(store.root), *levels, "--set", f"key_index_slots={SHAPE.slots}")
    return lambda command, *arguments: CliRunner().invoke(main, ["store", command, *where, *arguments])


@pytest.fixture
def _held(store):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate(b"")


def state_of(root):
    return {
        path: (
            path.stat().st_mtime_ns,
            path.stat().st_ctime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in (root, *root.rglob("*"))
    }


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_tells_how_it_is_used(command):
    result = CliRunner().invoke(main, ["store", command, "--help"])
    assert result.exit_code == 0
    assert "--store-root DIR" in result.stdout
    assert command in CliRunner().invoke(main, ["store", "--help"]).stdout


def test_the_group_does_not_bring_in_the_compiler():
    code = "import sys, shmq.commands.store; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_where_no_store_is_none_is_made(tmp_path, command):
    root = tmp_path / "absent"
    more = ["-o", str(tmp_path / "out")] if command == "export" else []
    result = CliRunner().invoke(main, ["store", command, "--store-root", str(root), *more])
    assert result.exit_code == 2
    assert str(root) in result.stderr
    assert not root.exists()


def test_a_sound_store_is_verified(run):
    result = run("verify")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "no inconsistency\n", "")
    result = run("verify", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"inconsistencies": 0, "pending": 0})


def test_each_inconsistency_is_a_line(store, run):
    position = store.records[10][0]
    store.patch_log(position + 4, b"????")
    path, unit = store.unit(b"B", 0, 0)
    with path.open("r+b") as file:
        file.seek(unit + 19)
        file.write(b"\x01")
    result = run("verify")
    assert result.exit_code == 1
    first, second, summary = result.stdout.splitlines()
    assert first.startswith("entry-tag consumequeue/B/0/00000000000000000000:0 (record ")
    assert second.startswith(f"record-magic commitlog/00000000000000000000:{position} (record {position}): ")
    assert summary.startswith("2 inconsistencies: ")
    result = run("verify", "--json")
    assert result.exit_code == 1
    *found, total = map(json.loads, result.stdout.splitlines())
    assert [each["kind"] for each in found] == ["entry-tag", "record-magic"]
    assert found[1] == {
        "kind": "record-magic",
        "path": str(store.log_file(position)),
        "offset": position,
        "position": position,
        "pending": False,
        "text": found[1]["text"],
    }
    assert total == {"inconsistencies": 2, "pending": 0}


def test_what_is_pending_is_no_failure(store, run):
    store.crash()
    store.patch_log(store.records[-1][0] + 90, b"?")
    result = run("verify")
    assert result.exit_code == 0
    *lines, summary = result.stdout.splitlines()
    assert all(line.startswith("pending ") for line in lines)
    assert summary == f"no inconsistency; {len(lines)} pending"


@pytest.mark.usefixtures("_held")
def test_a_store_in_use_is_looked_at_only_if_that_is_meant(store, run):
    result = run("verify")
    assert result.exit_code == 2
    assert "in use by process" in result.stderr
    result = run("verify", "--in-use")
    assert (result.exit_code, result.stdout) == (0, "no inconsistency\n")
    assert "in use by process" in result.stderr
    assert "in use by process" in run("info").stdout
    before = state_of(store.root)
    result = run("rebuild")
    assert result.exit_code == 2
    assert "in use by process" in result.stderr
    assert state_of(store.root) == before


@pytest.mark.parametrize("command", [("info",), ("info", "--json"), ("verify",), ("verify", "--json")])
@pytest.mark.parametrize("is_closed", [True, False])
def test_looking_changes_nothing(store, run, command, is_closed):
    (store.root / "lock").unlink(missing_ok=True)
    if not is_closed:
        store.crash()
        store.patch_log(store.records[-1][0] + 90, b"?")
    before = state_of(store.root)
    assert run(*command).exit_code == 0
    assert state_of(store.root) == before


def test_info_shows_what_there_is(store, run):
    result = run("info", "--top", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert f"log         0 to {store.end}, " in lines[2]
    assert "state       closed" in lines
    assert any(line.startswith("queues      3 topics, 4 queues, ") for line in lines)
    assert any("topics.json" in line for line in lines)
    assert lines[-1] == "and 1 topic more; see --top"
    assert [line.split()[0] for line in lines[-3:-1]] == ["A", "B"]


def test_info_for_programs(store, run):
    store.log_file(0).unlink()
    store.crash()
    result = run("info", "--json", "--top", "1")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    last = store.records[-1]
    first = next(each for each in store.records if each[0] >= 4096)
    log = found["log"]
    assert (log["begin"], log["end"], log["last_record"]) == (4096, store.end, last[0])
    assert (log["first_ms"], log["last_ms"]) == (first[5], last[5])
    assert found["is_clean"] is False
    assert found["in_use_by"] is None
    left = [each for each in store.records if each[0] >= 4096 and not each[6][39] & 0xC]
    assert found["message_count"] == len(left)
    offsets = [offset for _, _, topic, _, offset, _, _ in left if topic == b"A"]
    assert found["topics"] == [
        {
            "topic": "A",
            "queues": 2,
            "messages": len(offsets),
            "min_offset": min(offsets),
            "max_offset": max(offsets) + 1,
        }
    ]
    assert found["index"]["mark"]["indexed"] == store.end
    assert found["checkpoint"]["log_timestamp_ms"] == last[5]


def test_info_tells_of_a_queue_that_cannot_be_read(store, run):
    (store.consumequeue / "B" / "0" / "notes").write_text("x")
    result = run("info")
    assert result.exit_code == 0
    assert "notes" in result.stderr


def test_info_of_an_empty_directory(tmp_path):
    result = CliRunner().invoke(main, ["store", "info", "--store-root", str(tmp_path)])
    assert result.exit_code == 0
    assert "0 topics, 0 queues, 0 messages" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "built"),
    [((), "queues and key index"), (("--queues",), "queues"), (("--index",), "key index")],
)
def test_rebuild_builds_what_is_asked_for(store, run, options, built):
    result = run("rebuild", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"built {built} from the log, 0 to {store.end}\n"
    assert not was_left_open(StorePaths(store.root))
    assert run("verify").stdout == "no inconsistency\n"


def test_rebuild_tells_of_what_it_set_aside(store, run):
    store.crash()
    store.patch_log(store.records[-4][0] + 90, b"?")
    result = run("rebuild", "-v")
    assert result.exit_code == 0
    assert "quarantine/commitlog-" in result.stderr
    assert "checking the log from position 0 on" in result.stderr
    assert "quarantine" in run("info").stdout


def test_rebuild_without_a_log_fails(store, run):
    for path in store.paths.commitlog.iterdir():
        path.unlink()
    result = run("rebuild")
    assert result.exit_code == 1
    assert "no log" in result.stderr
