"""Whatever is written to the log, dispatch and reads agree with plain Python over a list of its records."""

import struct
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.store.entry_scan import ReadLimits
from shmq.store.log import LogReader
from shmq.store.read import QueueReader, ReadStatus
from shmq.store.search import Boundary, Queue, offset_by_time
from shmq.store.store_files import StoreSizes
from tests.support.small_store import SmallStore

TOPICS = (b"T", b"TT", b"%RETRY%group")
TAGS = ("", "A", "B", "Ä€😀")
messages = st.lists(
    st.tuples(
        st.sampled_from(TOPICS),
        st.integers(0, 1),  # queue id
        st.sampled_from(TAGS),
        st.sampled_from((0, 0, 0, 4, 8, 12)),  # sys flag
        st.integers(0, 900),  # body bytes
        st.integers(0, 3),  # ms since the record before
    ),
    max_size=40,
)


def java_hash(text):
    """String.hashCode, from its definition."""
    value = 0
    units = text.encode("utf-16-be")
    for (unit,) in struct.iter_unpack(">H", units):
        value = (31 * value + unit) % (1 << 32)
    return value - (1 << 32) if value >= 1 << 31 else value


def write(store, drawn):
    """Append what was drawn; return (entries by queue, store times by queue)."""
    entries, times, now_ms = {}, {}, 1000
    for topic, queue_id, tag, sys_flag, body_bytes, elapsed_ms in drawn:
        now_ms += elapsed_ms
        position, size = store.append(
            topic, queue_id, tag=tag, sys_flag=sys_flag, body=b"b" * body_bytes, store_ms=now_ms
        )
        if sys_flag in {0, 8}:
            entries.setdefault((topic, queue_id), []).append((position, size, java_hash(tag)))
            times.setdefault((topic, queue_id), []).append(now_ms)
    return entries, times


def new_reader(store, **limits):
    log = LogReader(store.root / "commitlog", store.log_file_bytes)
    sizes = StoreSizes(store.log_file_bytes, store.queue_file_bytes)
    return QueueReader(store.consumequeue, sizes, store.queues, log, ReadLimits(**limits))


@given(messages, st.lists(st.integers(1, 4000), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_queues_hold_what_the_log_holds_however_dispatch_is_cut(drawn, budgets, data):
    with tempfile.TemporaryDirectory() as folder:
        store = SmallStore(Path(folder), windows_max=data.draw(st.integers(1, 4)))
        expected, _ = write(store, drawn)
        begin, turn = 0, 0
        kills = data.draw(st.integers(0, 6))  # bounded: one that always begins again at 0 never ends
        while begin < store.end:
            result = store.run(begin, budgets[turn % len(budgets)])
            assert not result.problem
            assert result.reached > begin
            begin, turn = result.reached, turn + 1
            if kills and data.draw(st.integers(0, 3)) == 0:  # killed, and resumed at or before where it was
                kills -= 1
                store.files.close()
                store.start_dispatcher()
                begin = data.draw(
                    st.sampled_from([0, begin, *(r[0] for r in store.records if r[0] <= begin)])
                )
        assert begin == store.end
        for queue, entries in expected.items():
            slot = store.slot(*queue)
            assert store.queues.max[slot] == len(entries)
            assert store.queues.end_position[slot] == entries[-1][0] + entries[-1][1]
            assert store.entries(*queue) == entries
            content = store.queue_bytes(*queue)
            assert len(content) == -(-len(entries) // 10) * 200
            assert not any(content[20 * len(entries) :])
        store.files.close()


def read_slowly(entries, asked, log_end, limits):
    """The rules of a pull, by the specification: (positions taken, next offset, whether any)."""
    offset, count_max, tags = asked
    taken, size_bytes, following = [], 0, offset
    file_end = min(len(entries), (offset // 10 + 1) * 10)
    for number in range(offset, file_end):
        position, size, tag = entries[number]
        if (number - offset) * 20 >= max(limits["filter_bytes"], count_max * 20):
            break
        if taken:
            near = log_end - position <= limits["near_distance_bytes"]
            bound_bytes = limits["near_bytes"] if near else limits["far_bytes"]
            bound_count = limits["near_count"] if near else limits["far_count"]
            if len(taken) + 1 > count_max or size_bytes + size > bound_bytes or len(taken) >= bound_count:
                break
        following = number + 1
        if tags is None or tag in tags:
            taken.append((position, size))
            size_bytes += size
    return taken, following


@given(messages, st.data())
@settings(max_examples=100, deadline=None)
def test_a_read_takes_what_the_rules_of_a_pull_say(drawn, data):
    limits = {
        "near_count": data.draw(st.integers(1, 12)),
        "near_bytes": data.draw(st.integers(1, 8000)),
        "far_count": data.draw(st.integers(1, 12)),
        "far_bytes": data.draw(st.integers(1, 8000)),
        "near_distance_bytes": data.draw(st.integers(0, 8000)),
        "filter_bytes": data.draw(st.integers(1, 200)),
    }
    with tempfile.TemporaryDirectory() as folder:
        store = SmallStore(Path(folder))
        expected, _ = write(store, drawn)
        store.run()
        reader = new_reader(store, **limits)
        for queue, entries in expected.items():
            asked = (
                data.draw(st.integers(0, len(entries) - 1)),
                data.draw(st.integers(0, 12)),
                data.draw(st.none() | st.frozensets(st.sampled_from([java_hash(tag) for tag in TAGS]))),
            )
            taken, following = read_slowly(entries, asked, store.end, limits)
            result = reader.read(store.slot(*queue), queue, asked[0], asked[1], store.end, asked[2])
            status = ReadStatus.FOUND if taken else ReadStatus.NO_MATCHED_MESSAGE
            assert (result.status, result.next_offset, result.count) == (status, following, len(taken))
            content = {record[0]: record[-1] for record in store.records}
            assert b"".join(result.slices) == b"".join(content[position] for position, _ in taken)
            for piece in result.slices:
                piece.release()
        reader.close()
        store.files.close()


@given(messages, st.integers(990, 1130))
@settings(max_examples=100, deadline=None)
def test_a_search_by_time_agrees_with_a_look_at_every_message(drawn, time_ms):
    with tempfile.TemporaryDirectory() as folder:
        store = SmallStore(Path(folder))
        _, times = write(store, drawn)
        store.run()
        reader = new_reader(store)
        for name, stored in times.items():
            queue = Queue(store.slot(*name), name)
            lower = next((number for number, ms in enumerate(stored) if ms >= time_ms), len(stored))
            upper = max((number for number, ms in enumerate(stored) if ms <= time_ms), default=0)
            assert offset_by_time(reader, queue, time_ms, Boundary.LOWER) == lower
            assert offset_by_time(reader, queue, time_ms, Boundary.UPPER) == upper
        reader.close()
        store.files.close()
