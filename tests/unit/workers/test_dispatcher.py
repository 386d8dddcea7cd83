import os
import struct
import time
from itertools import count

import pytest
from structlog.testing import capture_logs

from shmq.broker.bloom import bloom_of
from shmq.broker.filter_table import FilterTable
from shmq.errors import StoreError
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import commit, follow, gates, plan, roster
from shmq.shared.local_sessions import ATTACHED
from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.extension_files import read_unit
from shmq.store.queue_extension import BASE
from shmq.store.segment import file_name
from shmq.store.watermarks import APPENDED, DISPATCHED, TRIMMED
from shmq.wire.heartbeat_bodies import SubscriptionData
from shmq.workers.dispatcher import Dispatcher
from shmq.workers.shared_filters import FilterPublisher
from tests.support.resting import FOR_LONG_NS, resting
from tests.support.waiting import eventually
from tests.support.writer_ground import QUEUES, WriterGround, message
from tests.support.writer_lives import NOW_MS, BareWriter


class Ground(WriterGround):
    """A log that grows, and dispatchers that follow it."""

    def __init__(self, root, **settings):
        super().__init__(root, **settings)
        self.writer_part = BareWriter(self)
        self.dispatcher = self.started()

    def started(self):
        made = Dispatcher(self.config, self.memory, self.paths)
        made.start()
        return made

    def append(self, *queues, body=b"x"):
        for queue in queues:
            self.submit(message(queue, body))
        while self.writer_part.turn(now_ms=NOW_MS) != commit.IDLE:
            continue

    def entries(self, queue):
        """(position, size) of each entry of a queue."""
        folder = self.paths.consumequeue / os.fsdecode(queue[0]) / str(queue[1])
        content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        count = int(self.memory.queues.max[self.slot(queue)])
        return [(position, size) for position, size, _ in struct.iter_unpack(">qiq", content[: 20 * count])]

    def tag_hashes(self, queue):
        """The last field of each entry of a queue."""
        folder = self.paths.consumequeue / os.fsdecode(queue[0]) / str(queue[1])
        content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        count = int(self.memory.queues.max[self.slot(queue)])
        return [tag_hash for _, _, tag_hash in struct.iter_unpack(">qiq", content[: 20 * count])]

    @property
    def marks(self):
        return self.memory.watermarks


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    made.dispatcher.close()


def test_without_new_records_there_is_nothing_to_do(ground):
    assert ground.dispatcher.is_ready
    assert ground.dispatcher.do_work(0) == 0


def test_readers_are_woken_for_what_a_dead_dispatcher_had_done_and_not_rung_for(ground):
    ground.dispatcher.close()
    reader = ground.memory.bell(plan.BELL_FIRST_WORKER)
    doorbell.want(reader, doorbell.DISPATCHED)
    ground.sleep_at(plan.BELL_FIRST_WORKER)
    ground.dispatcher = ground.started()
    assert not ground.is_asleep(plan.BELL_FIRST_WORKER)


def test_each_record_gets_its_entry_in_its_queue(ground):
    ground.append(QUEUES[0], QUEUES[2], QUEUES[0])
    assert ground.dispatcher.do_work(0) == 3
    first, second, third = [(each.position, each.total_size) for each in ground.stored()]
    assert ground.entries(QUEUES[0]) == [first, third]
    assert ground.entries(QUEUES[2]) == [second]
    assert ground.marks.dispatched == ground.marks.appended
    assert ground.memory.queues.max[:3].tolist() == [2, 0, 1]


def test_readers_that_want_to_know_are_woken(ground):
    ground.append(QUEUES[0])
    readers = (plan.BELL_FIRST_WORKER, plan.BELL_FIRST_WORKER + 1, plan.BELL_CONDUCTOR)
    for number in readers:
        ground.sleep_at(number)
    ground.dispatcher.do_work(0)
    assert [ground.is_asleep(number) for number in readers] == [False] * 3


def test_nobody_is_woken_where_nothing_has_moved(ground):
    ground.sleep_at(plan.BELL_CONDUCTOR)
    ground.dispatcher.do_work(0)
    assert ground.is_asleep(plan.BELL_CONDUCTOR)


def test_under_sync_flush_it_follows_the_disk_and_not_the_log(tmp_path):
    ground = Ground(tmp_path, flush_disk_type="SYNC_FLUSH")
    ground.append(QUEUES[0])
    assert ground.dispatcher.do_work(0) == 0
    ground.marks.move(128, ground.marks.appended)
    assert ground.dispatcher.do_work(0) == 1
    ground.dispatcher.close()


def test_a_log_of_several_files_is_followed_over_their_ends(ground):
    ground.append(*[QUEUES[1]] * 9, body=b"x" * 3000)
    while ground.dispatcher.do_work(0):
        pass
    assert len(ground.log.starts()) > 3
    assert ground.entries(QUEUES[1]) == [(each.position, each.total_size) for each in ground.stored()]


def test_a_successor_begins_where_its_predecessor_stood(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    ground.append(QUEUES[0], QUEUES[1])
    ground.dispatcher.close()
    ground.dispatcher = ground.started()
    assert ground.dispatcher.do_work(0) == 2
    assert len(ground.entries(QUEUES[0])) == 2


def reset_queue(ground, queue):
    """Let a queue's only entry be written once more."""
    slot = ground.slot(queue)
    path = ground.paths.consumequeue / os.fsdecode(queue[0]) / str(queue[1]) / file_name(0)
    with path.open("r+b") as written:
        written.write(bytes(20))
    ground.memory.queues.max[slot] = ground.memory.queues.end_position[slot] = 0


def test_what_is_no_record_ends_it(ground):
    store_word(ground.memory.place("watermarks") + APPENDED, 200)
    with pytest.raises(StoreError, match="position 0"):
        ground.dispatcher.do_work(0)


def test_a_queue_that_cannot_be_written_holds_it_up_and_loses_nothing(ground):
    folder = ground.paths.consumequeue / "A"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    ground.append(QUEUES[0])
    assert ground.dispatcher.do_work(0) == 0
    assert ground.marks.dispatched == 0
    assert ground.dispatcher.is_done  # it could wait for ever
    folder.unlink()
    assert ground.dispatcher.do_work(0) == 1
    assert len(ground.entries(QUEUES[0])) == 1


def test_what_is_synced_is_vouched_for_in_time(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    assert ground.marks.queues_ms == 0
    ground.dispatcher.close()
    assert ground.marks.queues_ms == NOW_MS
    ground.dispatcher = ground.started()


def test_it_is_done_when_the_writer_is_gone_and_all_is_dispatched(ground):
    writer = ground.memory.roster[plan.WRITER]
    roster.note_start(writer, os.getpid())
    ground.dispatcher.stop()
    assert not ground.dispatcher.is_done
    writer["pid"] = 0
    ground.append(QUEUES[0])
    assert not ground.dispatcher.is_done
    ground.dispatcher.do_work(0)
    eventually(lambda: ground.dispatcher.is_done)  # its keys are indexed a little later


def test_what_a_dying_writer_appends_last_is_not_missed(ground):
    """The writer may append and end between two looks: its end has to be looked for first."""
    looks = []

    class DyingWriter(dict):
        def __getitem__(self, name):
            looks.append(name)
            if name == "pid":
                ground.append(QUEUES[0])
            return 0

    ground.memory.roster = {plan.WRITER: DyingWriter()}
    assert not ground.dispatcher.is_done
    assert looks


def test_in_its_rest_it_dispatches_what_comes(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    ground.sleep_at(plan.BELL_CONDUCTOR)
    with resting(ground.dispatcher, lambda: ground.ring(plan.BELL_DISPATCHER)):
        for _ in range(2):
            ground.append(QUEUES[0])
            ground.ring(plan.BELL_DISPATCHER)
            eventually(lambda: ground.marks.dispatched == ground.marks.appended)
    assert not ground.is_asleep(plan.BELL_CONDUCTOR)
    assert ground.entries(QUEUES[0]) == [(each.position, each.total_size) for each in ground.stored()]
    ground.dispatcher.close()
    assert ground.marks.queues_ms == NOW_MS
    ground.dispatcher = ground.started()


def test_its_rest_ends_where_a_file_of_the_log_does(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    ground.append(*[QUEUES[0]] * 5, body=b"x" * 3000)
    ground.dispatcher.rest(FOR_LONG_NS)
    assert ground.marks.dispatched % ground.config.commit_log_file_bytes > 0
    while ground.dispatcher.do_work(0):
        ground.dispatcher.rest(FOR_LONG_NS if ground.marks.dispatched < ground.marks.appended else 0)
    assert ground.entries(QUEUES[0]) == [(each.position, each.total_size) for each in ground.stored()]


def test_its_rest_ends_where_what_it_has_dispatched_is_due_to_be_synced(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)  # from when on the next sync is long due
    ground.append(QUEUES[0])
    ground.dispatcher.rest(FOR_LONG_NS)
    assert ground.marks.dispatched == ground.marks.appended
    ground.dispatcher.rest(FOR_LONG_NS)  # nothing has come, but it is still to be synced
    assert ground.dispatcher.do_work(time.monotonic_ns()) == 0
    ground.dispatcher.close()
    assert ground.marks.queues_ms == NOW_MS
    ground.dispatcher = ground.started()


def test_a_session_that_came_meanwhile_is_told_of_what_was_dispatched(ground):
    """Its bell is not in the list that the kernel has, so the kernel leaves it to Python."""
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    ground.dispatcher.rest(0)
    begin = ground.marks.dispatched
    ground.append(QUEUES[0])
    sessions = ground.memory.sessions
    sessions.change(0, ATTACHED)
    doorbell.want(sessions.bell(0), doorbell.DISPATCHED)
    doorbell.will_sleep(sessions.bell(0))
    assert not follow._dispatch(ground.dispatcher._duty_at, begin, ground.marks.appended)
    assert ground.marks.dispatched == ground.marks.appended
    assert load_word(sessions.bell(0) + doorbell.SLEEPING) == 1
    ground.dispatcher.rest(0)
    assert load_word(sessions.bell(0) + doorbell.SLEEPING) == 0


def test_the_schedule_topic_may_be_made_while_it_rests(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.do_work(0)
    ground.dispatcher.rest(0)
    queue = (SCHEDULE_TOPIC, 2)
    ground.memory.queues.add(ground.memory.topic_names.add(SCHEDULE_TOPIC), queue[1])
    ground.submit(message(queue, properties=b"DELAY\x013\x02"))
    ground.append()
    begin, end = ground.marks.dispatched, ground.marks.appended
    assert not follow._dispatch(ground.dispatcher._duty_at, begin, end)  # it needs a file for the queue
    assert ground.dispatcher.do_work(0) == 1
    store_word(ground.memory.place("watermarks") + DISPATCHED, begin)
    reset_queue(ground, queue)
    assert follow._dispatch(ground.dispatcher._duty_at, begin, end)
    assert ground.tag_hashes(queue) == [NOW_MS + ground.config.delay_levels_ms[2]]


def test_it_does_not_sleep_where_there_is_work(ground):
    ground.append(QUEUES[0])
    ground.dispatcher.rest(FOR_LONG_NS)
    assert not ground.is_asleep(plan.BELL_DISPATCHER)


def clean_up(ground):
    at = ground.memory.place("gates") + gates.CLEANUPS
    store_word(at, load_word(at) + 1)
    while ground.dispatcher.do_work(0):
        continue


def test_log_files_that_were_trimmed_are_let_go_of(ground):
    for _ in range(3):
        ground.append(QUEUES[0], body=b"x" * 5000)
    while ground.dispatcher.do_work(0):
        continue
    assert len(ground.dispatcher._reader.mappings) == 3
    store_word(ground.marks.address + TRIMMED, 2 * ground.log.file_bytes)
    clean_up(ground)
    assert len(ground.dispatcher._reader.mappings) == 1


def test_queues_that_were_given_up_are_removed_and_go_on_at_their_offset(ground):
    ground.append(*QUEUES, *QUEUES)
    clean_up(ground)
    table, slot = ground.memory.queues, ground.slot(QUEUES[0])
    table.min[slot] = table.dropped[slot] = table.max[slot]
    clean_up(ground)
    folder = ground.paths.consumequeue / "A"
    assert [path.name for path in folder.iterdir()] == ["1"]
    ground.append(QUEUES[0], QUEUES[1])
    clean_up(ground)
    assert (int(table.min[slot]), int(table.max[slot])) == (2, 3)
    assert [size == 0x7FFFFFFF for _, size in ground.entries(QUEUES[0])] == [True, True, False]
    assert len(ground.entries(QUEUES[1])) == 3


def test_a_queue_to_which_something_has_come_since_is_kept(ground):
    ground.append(QUEUES[0])
    clean_up(ground)
    table, slot = ground.memory.queues, ground.slot(QUEUES[0])
    table.dropped[slot] = table.max[slot]
    ground.append(QUEUES[0])
    while ground.dispatcher.do_work(0):
        continue
    clean_up(ground)
    assert len(ground.entries(QUEUES[0])) == 2


def test_a_successor_removes_what_its_predecessor_did_not_come_to(ground):
    ground.append(QUEUES[0])
    clean_up(ground)
    ground.dispatcher.close()
    table, slot = ground.memory.queues, ground.slot(QUEUES[0])
    table.dropped[slot] = table.max[slot]
    ground.dispatcher = ground.started()
    ground.dispatcher.do_work(0)
    assert not (ground.paths.consumequeue / "A").exists()


@pytest.fixture
def extended(tmp_path):
    made = Ground(tmp_path, queue_extension_enable=True, filter_bit_maps_enable=True)
    yield made
    made.dispatcher.close()


def units(ground, queue):
    folder = ground.paths.extensions / os.fsdecode(queue[0]) / str(queue[1])
    file_bytes = ground.config.queue_extension_file_bytes
    return [read_unit(folder, file_bytes, tag) for tag in ground.tag_hashes(queue)]


def test_with_extensions_it_rests_until_there_is_something_to_dispatch(extended):
    """Python writes units: its kernel must not go on by itself."""
    extended.append(QUEUES[0])
    extended.dispatcher.rest(FOR_LONG_NS)
    assert extended.marks.dispatched == 0
    assert extended.dispatcher.do_work(0) == 1
    assert [unit.store_ms for unit in units(extended, QUEUES[0])] == [NOW_MS]


def test_bit_maps_are_made_of_the_published_expressions(extended):
    publisher = FilterPublisher(extended.config, extended.memory, extended.paths, None)
    table = FilterTable(extended.config, [])
    publisher.begin(table)
    said = SubscriptionData("A", "TAGS IS NULL", version=1, expression_type="SQL92")
    table.hear("g", (said,), NOW_MS)
    extended.append(QUEUES[0])
    extended.dispatcher.do_work(0)
    publisher.publish(table, lambda _: False)
    extended.append(QUEUES[0])
    extended.dispatcher.do_work(0)
    first, second = units(extended, QUEUES[0])
    assert first.bit_map == b""
    assert bloom_of(extended.config).bits_of("g", "A").may_match(second.bit_map)
    assert any(second.bit_map)


def test_units_are_synced_before_the_entries_that_lead_to_them(extended, monkeypatch):
    synced = []
    monkeypatch.setattr("shmq.workers.dispatcher.sync_files", synced.append)
    extended.append(QUEUES[0], QUEUES[1])
    extended.dispatcher.do_work(0)
    later_ns = count(1 << 60, 1 << 40)

    def is_synced():
        extended.dispatcher.do_work(next(later_ns))  # not while the indexer's files are being synced
        return len(synced) > 0

    eventually(is_synced)
    roots = [path.relative_to(extended.paths.root).parts[0] for path in synced[0].files]
    assert roots == ["consumequeue_ext"] * 2 + ["consumequeue"] * 2


def test_extensions_of_queues_that_were_given_up_are_removed_and_begin_anew(extended):
    extended.append(*QUEUES, *QUEUES)
    clean_up(extended)
    table, slot = extended.memory.queues, extended.slot(QUEUES[0])
    table.min[slot] = table.dropped[slot] = table.max[slot]
    clean_up(extended)
    assert [path.name for path in (extended.paths.extensions / "A").iterdir()] == ["1"]
    extended.append(QUEUES[0])
    clean_up(extended)
    assert extended.tag_hashes(QUEUES[0])[-1] == BASE


def test_units_that_cannot_be_written_are_told_of_once(extended):
    extended.paths.extensions.write_text("in the way")
    with capture_logs() as logged:
        for _ in range(3):
            extended.append(QUEUES[0])
            extended.dispatcher.do_work(0)
    assert [line["event"] for line in logged] == ["queues go on without extensions"]
    assert extended.tag_hashes(QUEUES[0]) == [0, 0, 0]
