"""Messages found by a key, in index files that plain Python wrote."""

import itertools
import os
import struct
from pathlib import Path

import pytest

from shmq.store.key_query import KeyIndexReader, KeyQuery
from shmq.store.key_shape import KeyIndexShape
from shmq.wire.message import decode_messages
from tests.support.key_index_model import KeyIndexModel, java_hash
from tests.support.small_store import SmallStore

SLOTS = 5
MS = 1_700_000_000_000
EVER = 1 << 62


class Ground:
    """A log of messages with keys, their index, and its reader."""

    def __init__(self, root, entries=100, log_file_bytes=1 << 20):
        self.store = SmallStore(root, log_file_bytes)
        self.index = KeyIndexModel(SLOTS, entries)
        self.directory = root / "index"
        self.shape = KeyIndexShape(SLOTS, entries)
        self.reader = KeyIndexReader(self.directory, self.shape, self.store.log)

    def add(self, body, keys="k", store_ms=MS, topic="T"):
        """Store and index a message; return its position."""
        text = f"KEYS\x01{keys}\x02".encode()
        position, _ = self.store.append(
            topic.encode(), body=body.encode(), properties=text, store_ms=store_ms
        )
        self.index.put_message(topic, None, keys, position, store_ms)
        return position

    def write(self):
        return self.index.write(self.directory)

    def answer(self, key="k", count_max=64, begin_ms=0, end_ms=EVER, **limits):
        query = KeyQuery(
            limits.get("topic", "T"), key, count_max, limits.get("bytes_max", 1 << 24), begin_ms, end_ms
        )
        return self.reader.find(query, limits.get("log_begin", 0), limits.get("log_end", self.store.end))

    def bodies(self, *args, **limits):
        pieces = self.answer(*args, **limits).messages
        return [bytes(message.body).decode() for message in decode_messages(b"".join(pieces))]


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def mapped_files(directory):
    """The names of the index files that this process has mapped; "(deleted)" ends those that are gone."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {line.partition(f"{directory}/")[2] for line in lines if f"{directory}/" in line}


def test_each_key_of_a_message_finds_it_and_no_other_topic_does(ground):
    ground.add("a", "one two")
    ground.add("b", "two")
    ground.add("c", "two", topic="U")
    ground.write()
    assert ground.bodies("one") == ["a"]
    assert ground.bodies("two") == ["a", "b"]
    assert ground.bodies("two", topic="U") == ["c"]
    assert ground.bodies("three") == []
    assert ground.bodies("one two") == []


@pytest.mark.parametrize("key", ["订单", "\U0001f600", "k" * 300, "a#b"])
def test_a_key_may_be_any_text(ground, key):
    ground.add("a", key)
    ground.add("b", "other")
    ground.write()
    assert ground.bodies(key) == ["a"]


def test_the_newest_messages_are_answered_in_the_order_of_the_log(ground):
    for number in range(9):
        ground.add(str(number))
    ground.write()
    assert ground.bodies(count_max=3) == ["6", "7", "8"]


@pytest.mark.parametrize("count_max", [0, -1, -(1 << 31)])
def test_nothing_is_found_where_nothing_is_wanted(ground, count_max):
    ground.add("a")
    ground.write()
    assert ground.bodies(count_max=count_max) == []


def test_a_query_goes_on_in_older_files(tmp_path):
    ground = Ground(tmp_path, entries=4)  # of which three are used
    for number in range(10):
        ground.add(str(number), store_ms=MS + number)
    assert len(ground.write()) == 4
    assert ground.bodies() == [str(number) for number in range(10)]
    assert ground.bodies(count_max=5) == ["5", "6", "7", "8", "9"]
    assert ground.bodies(begin_ms=MS + 2, end_ms=MS + 6) == ["2", "3", "4", "5", "6"]


def test_a_moment_in_two_files_is_found_in_both(tmp_path):
    ground = Ground(tmp_path, entries=3)
    for number in range(5):
        ground.add(str(number))
    ground.write()
    assert ground.bodies(begin_ms=MS, end_ms=MS) == ["0", "1", "2", "3", "4"]


def test_the_first_of_a_file_is_found_however_long_it_came_after_the_file_before(tmp_path):
    ground = Ground(tmp_path, entries=3)
    for number in range(4):
        ground.add(str(number), store_ms=MS + 10_000 * number)
    ground.write()
    for number in range(4):
        moment = MS + 10_000 * number
        assert ground.bodies(begin_ms=moment, end_ms=moment) == [str(number)]


def test_the_time_is_that_of_the_record_to_the_millisecond(tmp_path):
    ground = Ground(tmp_path, entries=4)
    times = (0, 300, 999, 1000, 1001, 1500, 1999, 2000, 2001, 2900, 3500)
    for ms in times:
        ground.add(str(ms), store_ms=MS + ms)
    ground.write()
    bounds = sorted({ms + near for ms in times for near in (-1, 0, 1)})
    for begin, end in itertools.product(bounds, repeat=2):
        expected = [str(ms) for ms in times if begin <= ms <= end]
        assert ground.bodies(begin_ms=MS + begin, end_ms=MS + end) == expected


def test_a_hot_key_is_found_behind_all_that_came_later_in_the_same_second(ground):
    big = Ground(ground.store.root / "big", entries=2000)
    big.add("early", store_ms=MS)
    big.add("wanted", store_ms=MS + 10)
    for _ in range(1500):
        big.add("late", store_ms=MS + 20)
    big.write()
    assert big.bodies(count_max=2, end_ms=MS + 10) == ["early", "wanted"]
    assert big.bodies(begin_ms=MS + 1, end_ms=MS + 10) == ["wanted"]


def test_a_message_that_was_indexed_twice_is_answered_and_counted_once(ground):
    ground.add("a")
    position = ground.add("b", "k k")
    ground.index.put("T#k", position, MS)
    ground.write()
    assert ground.bodies(count_max=2) == ["a", "b"]
    both = sum(len(message) for message in ground.answer().messages)
    assert ground.bodies(bytes_max=both) == ["a", "b"]


def test_a_key_with_the_same_hash_is_answered_too(ground):
    assert java_hash("T#Aa") == java_hash("T#BB")
    ground.add("a", "Aa")
    ground.add("b", "BB")
    ground.write()
    assert ground.bodies("Aa") == ["a", "b"]


def test_records_that_are_gone_or_not_yet_to_be_seen_are_passed_over(ground):
    positions = [ground.add(str(number)) for number in range(5)]
    ground.write()
    assert ground.bodies(log_begin=positions[2]) == ["2", "3", "4"]
    assert ground.bodies(log_end=positions[3]) == ["0", "1", "2"]
    assert ground.bodies(log_begin=positions[2], log_end=positions[2]) == []


def test_no_file_is_read_that_is_older_than_the_log(tmp_path):
    ground = Ground(tmp_path, entries=3)
    positions = [ground.add(str(number)) for number in range(8)]
    paths = ground.write()
    assert ground.bodies(log_begin=positions[5]) == ["5", "6", "7"]
    assert mapped_files(ground.directory) == {path.name for path in paths[2:]}


def test_a_log_file_that_is_gone_has_no_messages(tmp_path):
    ground = Ground(tmp_path, log_file_bytes=1024)
    for number in range(20):
        ground.add(str(number))
    ground.write()
    (tmp_path / "commitlog" / f"{0:020d}").unlink()
    found = ground.bodies()
    assert 0 < len(found) < 20
    assert found == [str(number) for number in range(20)][-len(found) :]


def test_a_damaged_record_hides_no_other(ground):
    positions = [ground.add(str(number)) for number in range(5)]
    ground.index.put("T#k", positions[1] + 1, MS)
    ground.write()
    ground.store.write(positions[3] + 4, b"\0\0\0\0")
    ground.store.write(positions[4], struct.pack(">i", -5))
    assert ground.bodies() == ["0", "1", "2"]


def test_an_answer_is_no_longer_than_asked_but_for_a_first_message(ground):
    for number in range(4):
        ground.add(str(number))
    ground.write()
    one = len(ground.answer(count_max=1).messages[0])
    assert ground.bodies(bytes_max=2 * one) == ["2", "3"]
    assert ground.bodies(bytes_max=3 * one - 1) == ["2", "3"]
    assert ground.bodies(bytes_max=1) == ["3"]


def test_the_end_of_the_newest_file_is_told(tmp_path):
    ground = Ground(tmp_path, entries=3)
    assert ground.answer()[1:] == (0, 0)
    ground.directory.mkdir()
    assert ground.answer()[1:] == (0, 0)
    positions = [ground.add(str(number), store_ms=MS + number) for number in range(5)]
    ground.write()
    assert ground.answer("nothing")[1:] == (MS + 4, positions[4])
    assert ground.answer(end_ms=MS)[1:] == (MS + 4, positions[4])


def test_what_is_no_index_file_is_passed_over(ground):
    position = ground.add("a")
    (path,) = ground.write()
    newer = str(int(path.name) + 1)
    (ground.directory / newer).mkdir()
    os.mkfifo(ground.directory / str(int(newer) + 3))
    (ground.directory / str(int(newer) + 1)).write_bytes(bytes(ground.shape.file_bytes - 1))
    (ground.directory / str(int(newer) + 2)).touch()
    (ground.directory / f"{newer}.tmp").write_bytes(path.read_bytes())
    (ground.directory / "safe").write_bytes(path.read_bytes())
    assert ground.bodies() == ["a"]
    assert ground.answer()[1:] == (MS, position)


def test_an_empty_newest_file_hides_no_older_one(ground):
    ground.add("a")
    (path,) = ground.write()
    path.with_name(str(int(path.name) + 1)).write_bytes(bytes(ground.shape.file_bytes))
    assert ground.bodies() == ["a"]
    assert ground.bodies(begin_ms=MS) == ["a"]


def test_no_file_is_read_that_is_older_than_the_time_asked_for(tmp_path):
    ground = Ground(tmp_path, entries=3)
    for number in range(8):
        ground.add(str(number), store_ms=MS + 1000 * number)
    paths = ground.write()
    assert ground.bodies(begin_ms=MS + 5000) == ["5", "6", "7"]
    assert mapped_files(ground.directory) == {path.name for path in paths[2:]}
    assert ground.bodies(count_max=1) == ["7"]
    assert mapped_files(ground.directory) == {path.name for path in paths[2:]}


def test_a_file_grows_while_it_is_mapped(ground):
    ground.add("a")
    (path,) = ground.write()
    assert ground.bodies() == ["a"]
    ground.add("b")
    with path.open("r+b") as file:
        file.write(ground.index.files[0].content)
    assert ground.bodies() == ["a", "b"]


def test_a_file_that_is_gone_is_let_go_of(tmp_path):
    ground = Ground(tmp_path, entries=3)
    for number in range(4):
        ground.add(str(number))
    first, second = ground.write()
    assert ground.bodies() == ["0", "1", "2", "3"]
    first.unlink()
    assert ground.bodies() == ["2", "3"]
    assert mapped_files(ground.directory) == {second.name}
    ground.reader.close()
    assert mapped_files(ground.directory) == set()


def test_another_file_of_the_same_name_is_another_file(ground):
    ground.add("a")
    (path,) = ground.write()
    assert ground.bodies() == ["a"]
    ground.index.files.clear()
    ground.add("b")
    path.unlink()
    ground.write()
    assert ground.bodies() == ["b"]


def test_only_the_newest_files_stay_mapped(tmp_path):
    ground = Ground(tmp_path, entries=2)
    for number in range(50):
        ground.add(str(number), store_ms=MS + number)
    paths = ground.write()
    for _ in range(2):
        assert ground.bodies() == [str(number) for number in range(50)]
        mapped = mapped_files(ground.directory)
        assert len(mapped) == 32
        assert {path.name for path in paths[-31:]} < mapped


def test_messages_outlive_the_reader(ground):
    ground.add("a")
    ground.write()
    (message,) = ground.answer().messages
    ground.reader.close()
    ground.store.log.close()
    (decoded,) = decode_messages(bytes(message))
    assert bytes(decoded.body) == b"a"


def test_files_whose_messages_are_all_gone_are_let_go_of_and_not_mapped_again(tmp_path):
    ground = Ground(tmp_path, entries=3)
    positions = [ground.add(str(number), store_ms=MS + 1000 * number) for number in range(8)]
    paths = [path.name for path in ground.write()]
    assert len(paths) == 4, "two entries a file"
    assert ground.bodies() == [str(number) for number in range(8)]
    assert mapped_files(ground.directory) == set(paths)
    ground.reader.forget_below(positions[4])
    assert mapped_files(ground.directory) == set(paths[2:])
    assert ground.bodies(log_begin=positions[4]) == ["4", "5", "6", "7"]
    assert ground.bodies("another", log_begin=positions[4]) == []
    ground.reader.forget_below(positions[4])
    assert mapped_files(ground.directory) == set(paths[2:])
    ground.reader.forget_below(ground.store.end)
    assert mapped_files(ground.directory) == set(paths[3:]), "the newest stays"


def test_a_query_maps_no_file_for_long_whose_messages_are_all_gone(tmp_path):
    ground = Ground(tmp_path, entries=3)
    positions = [ground.add(str(number)) for number in range(8)]
    paths = [path.name for path in ground.write()]
    assert ground.bodies("another", log_begin=positions[5]) == []
    assert mapped_files(ground.directory) == set(paths[2:])
