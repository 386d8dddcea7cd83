"""`shmq store` beside a real broker: what it wrote agrees, also where it was killed, and is built again the same."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from shmq.wire.codes import ResponseCode
from tests.support.load import assert_all_found_by_key, load_on
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker

SHMQ: Final = Path(sys.executable).parent / "shmq"
DEADLINE_S: Final = 120.0
MESSAGES: Final = 3000
TOPICS: Final = ("store-a", "store-b", "store-c", "%RETRY%store-group")
SETTINGS: Final = {
    "commit_log_file_bytes": "256KiB",
    "consume_queue_file_bytes": 20 * 300,
    "key_index_slots": 300,
    "key_index_entries": 1200,
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], ShmqBroker]]:
    """Start a broker on the same store, as often as is wanted."""
    started: list[ShmqBroker] = []

    def start_one() -> ShmqBroker:
        started.append(ShmqBroker(tmp_path, settings=SETTINGS))
        return started[-1]

    yield start_one
    for broker in started:
        broker.discard()


def store(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `shmq store` on a store, whose sizes it has to find out."""
    return subprocess.run(
        [SHMQ, "store", arguments[0], "--store-root", root, *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def findings(root: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Verify: the exit code, and what was found."""
    done = store(root, "verify", "--json", *arguments)
    assert done.returncode in {0, 1}, done.stderr
    *found, _ = map(json.loads, done.stdout.splitlines())
    return done.returncode, found


def send_of_all_kinds(broker: ShmqBroker) -> None:
    with Remote(broker.address) as remote:
        for number in range(MESSAGES):
            properties = f"TAGS\x01tag{number % 5}\x02"
            if number % 3:
                properties += f"KEYS\x01order{number} customer{number % 50}\x02"
            if number % 10 == 0:
                properties += f"DELAY\x01{1 + number // 10 % 18}\x02"
            body = b"%05d " % number * (1 + number % 40)
            sent = remote.send(TOPICS[number % 4], body, 0 if number % 4 == 3 else number % 4, properties)
            assert sent.code == ResponseCode.SUCCESS, sent.remark


def derived(root: Path) -> tuple[dict[str, bytes], list[bytes]]:
    """Queues by name, and the files of the key index, whose names are times."""
    queues = root / "consumequeue"
    files = [path for path in sorted(queues.rglob("*")) if path.is_file()]
    index = sorted((root / "index").iterdir())
    return {str(path.relative_to(queues)): path.read_bytes() for path in files}, [
        path.read_bytes() for path in index
    ]


def test_what_a_broker_wrote_agrees_and_is_built_again_the_same(
    start: Callable[[], ShmqBroker], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    broker = start()
    send_of_all_kinds(broker)
    in_use = store(root, "verify")
    assert in_use.returncode == 2
    assert "in use by process" in in_use.stderr
    assert store(root, "rebuild").returncode == 2
    assert "in use by process" in store(root, "info").stdout
    broker.stop()
    assert findings(root) == (0, [])

    before = derived(root)
    assert len(before[1]) > 3
    told = json.loads(store(root, "info", "--json", "--top", "100").stdout)
    assert told["is_clean"]
    assert told["message_count"] >= MESSAGES
    topics = {topic["topic"]: topic for topic in told["topics"]}
    assert {*TOPICS, "SCHEDULE_TOPIC_XXXX"} <= set(topics)
    assert topics["SCHEDULE_TOPIC_XXXX"]["messages"] == MESSAGES // 10

    rebuilt = store(root, "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert derived(root) == before
    assert findings(root) == (0, [])
    broker = start()
    with Remote(broker.address) as remote:
        assert len(remote.query("store-b", "customer1")) > 0
    broker.stop()
    assert findings(root) == (0, [])


def test_after_all_were_killed_everything_is_pending_or_agrees(
    start: Callable[[], ShmqBroker], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    acknowledged = []
    for life in range(2):
        broker = start()
        with load_on(broker.address, "killed", tag=f"life{life}") as load:
            load.wait_for_more(700)
            broker.kill()
        acknowledged += load.acknowledged
        code, found = findings(root)
        assert (code, [each for each in found if not each["pending"]]) == (0, [])
    broker = start()
    assert_all_found_by_key(broker.address, "killed", acknowledged)
    broker.stop()
    assert findings(root) == (0, [])


def test_a_terminal_is_shown_how_far_it_is(start: Callable[[], ShmqBroker], tmp_path: Path) -> None:
    broker = start()
    with load_on(broker.address, "shown") as load:
        load.wait_for_more(100)
    broker.stop()
    terminal, its_end = pty.openpty()
    command = [SHMQ, "store", "verify", "--store-root", tmp_path / "store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its_end) as process:
        os.close(its_end)
        assert process.stdout is not None
        assert process.stdout.read() == b"no inconsistency\n"
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    for what in ("log", "queues", "key index"):
        assert what in shown
    assert "100%" in shown
