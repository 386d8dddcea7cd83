import base64
import zlib

import orjson
import pytest
from click.testing import CliRunner

from shmq.cli import main
from shmq.client.message import deliver
from shmq.commands.message_lines import json_line
from shmq.store.key_query import KeyIndexReader, KeyQuery
from shmq.wire.bodies import MessageQueue
from shmq.wire.flags import COMPRESSION_LZ4, MESSAGE_COMPRESSED
from shmq.wire.message import decode_messages
from tests.support.indexed_store import START_MS, IndexedStore


@pytest.fixture
def store(tmp_path):
    """Twenty messages with ids U0 .. U19 and keys k0 .. k4, a second apart; the newest six are not indexed."""
    made = IndexedStore(tmp_path / "store")
    for number in range(20):
        made.add(f"U{number}", f"all k{number % 5}", topic="TU"[number % 2], after_ms=1000)
        if number == 13:
            made.run_index()
    made.run()
    made.files.close()
    return made


@pytest.fixture
def cat(store):
    def run(*arguments):
        slots, entries = store.shape
        sizes = ["--set", f"key_index_slots={slots}", "--set", f"key_index_entries={entries}"]
        return CliRunner().invoke(
            main, ["store", "cat", "--store-root", str(store.root), *sizes, *map(str, arguments)]
        )

    return run


def ids(result):
    assert result.exit_code == 0, result.stderr
    return [int(orjson.loads(line)["id"].removeprefix("U")) for line in result.stdout.splitlines()]


def test_all_messages_are_printed_in_the_order_of_the_log(cat):
    assert ids(cat()) == list(range(20))


def test_a_line_tells_what_a_consumer_gets_and_where_it_lies(cat, store):
    line = cat("-n", 1).stdout_bytes
    (stored,) = decode_messages(store.records[0][-1])
    consumed = orjson.loads(json_line(deliver(MessageQueue("T", "broker-a", 0), stored)))
    assert consumed.pop("broker") == "broker-a"
    told = orjson.loads(line)
    assert consumed.items() <= told.items()
    assert {name: told[name] for name in told.keys() - consumed.keys()} == {
        "position": 0,
        "record_bytes": store.records[0][1],
        "offset_id": "7F00000100002A9F0000000000000000",
        "born_host": "127.0.0.1:10911",
        "store_host": "127.0.0.1:10911",
        "flag": 0,
        "sys_flag": 0,
        "reconsume_times": 0,
        "prepared_position": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--topic", "T"], range(0, 20, 2)),
        (["--topic", "T", "--queue", 0, "--from-offset", 2, "--to-offset", 5], [4, 6, 8]),
        (["--queue", 1], []),
        (["--topic", "none"], []),
        (["--since", START_MS + 16_000], range(15, 20)),
        (["--until", "2023-11-14T22:13:23Z"], [0, 1]),
        (["--since", "2023-11-14T22:13:22.000Z", "--until", "2023-11-15T00:13:24+02:00"], [1, 2]),
        (["--tag", "TagA || TagB", "-n", 2], [0, 1]),
        (["--tag", "TagB"], []),
        (["--tag", "*", "-n", 3], [0, 1, 2]),
        (["--key", "k3"], [3, 8, 13, 18]),
        (["--key", "U7"], [7]),
    ],
)
def test_messages_are_chosen(cat, arguments, expected):
    assert ids(cat(*arguments)) == list(expected)


def test_positions_choose_messages(cat, store):
    begin, end = store.records[4][0], store.records[7][0]
    assert ids(cat("--from-position", begin, "--to-position", end)) == [4, 5, 6]


def test_a_key_with_a_topic_is_found_by_the_index(cat):
    """What the index does not know yet is not found: so it was the index that found the others."""
    assert ids(cat("--topic", "T", "--key", "k3")) == [8]
    assert ids(cat("--topic", "U", "--key", "k3")) == [3, 13]
    assert ids(cat("--topic", "U", "--key", "U3")) == [3]
    assert ids(cat("--topic", "T", "--key", "U3")) == []


def test_other_choices_hold_for_what_the_index_found(cat, store):
    assert ids(cat("--topic", "U", "--key", "k3", "--since", START_MS + 5000)) == [13]
    assert ids(cat("--topic", "U", "--key", "k3", "--to-position", store.records[5][0])) == [3]
    assert ids(cat("--topic", "U", "--key", "k3", "--queue", 1)) == []
    assert ids(cat("--topic", "U", "--key", "all", "-n", 2)) == [1, 3]


def test_a_key_is_held_against_the_text(cat, store):
    """In Java "jR" has the hash of "k3", so the index has messages for it."""
    reader = KeyIndexReader(store.index, store.shape, store.log)
    query = KeyQuery("U", "jR", count_max=9, bytes_max=1 << 20, begin_ms=0, end_ms=1 << 60)
    assert len(reader.find(query, 0, store.end).messages) == 2
    reader.close()
    assert ids(cat("--topic", "U", "--key", "jR")) == []


def test_without_an_index_the_log_is_read_for_a_key(cat, store):
    for path in store.index.iterdir():
        path.unlink()
    assert ids(cat("--topic", "U", "--key", "k3")) == [3, 13]
    assert ids(cat("--topic", "T", "--key", "k3")) == [8, 18]


def test_a_position_is_one_message(cat, store):
    assert ids(cat("--offset", store.records[7][0])) == [7]


@pytest.mark.parametrize("position", [1, 1 << 40])
def test_a_position_that_is_none_is_told(cat, position):
    result = cat("--offset", position)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: no message begins at position {position} of the log\n"


def test_an_id_may_be_where_it_lies_or_what_its_producer_gave(cat, store):
    offset_id = f"7F00000100002A9F{store.records[7][0]:016x}"
    assert ids(cat("--id", offset_id)) == [7]
    assert ids(cat("--id", "U17")) == [17]


@pytest.mark.parametrize(
    "message_id",
    ["k3", "U20", "7F00000100002A9F0000000000000001", "7F00000200002A9F0000000000000000", "F" * 32, "F" * 56],
)
def test_an_id_that_is_none_is_told(cat, message_id):
    result = cat("--id", message_id)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: no message has the id {message_id}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--offset", "1", "--id", "U1"],
        ["--offset", "1", "--topic", "T"],
        ["--id", "U1", "--since", "1"],
        ["--since", "yesterday"],
        ["--tag", " || "],
        ["--topic", ""],
        ["--key", ""],
        ["--queue", "-1"],
        ["--count", "0"],
        ["extra"],
    ],
)
def test_wrong_usage_is_told(cat, arguments):
    result = cat(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rror: " in result.stderr


def test_raw_prints_bodies(cat, store):
    store.append(body=b"\xff\x00", store_ms=START_MS + 50_000)
    result = cat("--raw", "--since", START_MS + 20_000)
    assert result.stdout_bytes == b"x\n\xff\x00\n"


def test_a_body_that_is_no_text_is_base64(cat, store):
    store.append(body=b"\xff", store_ms=START_MS + 50_000)
    (line,) = cat("--since", START_MS + 50_000).stdout.splitlines()
    told = orjson.loads(line)
    assert base64.b64decode(told["body_base64"]) == b"\xff"
    assert "body" not in told


def test_compressed_bodies_are_undone_where_they_can_be(cat, store):
    late = START_MS + 50_000
    store.append(body=zlib.compress(b"hello"), sys_flag=MESSAGE_COMPRESSED, store_ms=late)
    store.append(body=b"?", sys_flag=MESSAGE_COMPRESSED | COMPRESSION_LZ4, store_ms=late)
    first, second = map(orjson.loads, cat("--since", late).stdout.splitlines())
    assert (first["body"], "still_compressed" in first) == ("hello", False)
    assert (second["body"], second["still_compressed"]) == ("?", "lz4")
    raw = cat("--since", late, "--raw")
    assert raw.stdout == "hello\n?\n"
    assert "is compressed by lz4: not undone" in raw.stderr


def test_damage_is_told_behind_what_comes_before(cat, store):
    store.write(store.records[3][0], b"damaged!")
    result = cat("--raw")
    assert (result.exit_code, result.stdout) == (1, "x\nx\nx\n")
    assert f"no whole record lies at position {store.records[3][0]}" in result.stderr
    assert ids(cat("--from-position", store.records[4][0])) == list(range(4, 20))


def test_no_store_is_told(tmp_path):
    result = CliRunner().invoke(main, ["store", "cat", "--store-root", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "there is no store" in result.stderr


def test_nothing_is_changed(cat, store):
    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.root.rglob("*")}

    before = state()
    ids(cat())
    ids(cat("--topic", "U", "--key", "k3"))
    assert state() == before
