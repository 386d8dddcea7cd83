import errno
import os
import threading
from contextlib import closing

import pytest

from shmq.errors import StoreError
from shmq.memory.layout import offset_of
from shmq.memory.words import load_word, store_word
from shmq.ring import spsc
from shmq.shared import gates, group_commit, header, plan, roster, submission
from shmq.store import segment
from shmq.store.watermarks import APPENDED, DISPATCHED
from tests.support.resting import FOR_LONG_NS, resting
from tests.support.waiting import eventually
from tests.support.writer_ground import QUEUES, WriterGround, message, message_of_size, until_idle
from tests.support.writer_lives import NOW_MS, BareWriter, check

STORED, UNAVAILABLE = 0, 2
FILE_BYTES = 8192


@pytest.fixture
def ground(tmp_path):
    return WriterGround(tmp_path)


def started(ground):
    writer = ground.writer()
    writer.start()
    return closing(writer)


def turn_until(writer, condition):
    """Turn a writer, which sleeps when there is nothing to do, until something has come about."""
    while not condition():
        if writer.do_work(0) == 0:
            writer.rest(10_000_000)


def test_a_first_start_makes_the_first_file(ground):
    with started(ground) as context:
        assert context.is_ready
        assert ground.log.starts()[0] == 0
        assert context.do_work(0) == 0


def test_every_sender_is_served_and_woken(ground):
    with started(ground) as writer:
        sent = [ground.submit(message(body=bytes([sender])), sender=sender) for sender in range(3)]
        bells = (
            plan.BELL_FIRST_WORKER,
            plan.BELL_FIRST_WORKER + 1,
            plan.BELL_CONDUCTOR,
            plan.BELL_DISPATCHER,
        )
        for number in bells:
            ground.sleep_at(number)
        assert writer.do_work(0) == 3
        assert [ground.is_asleep(number) for number in bells] == [False] * 4
    assert [ground.completions(sender)[0].tag for sender in range(3)] == sent
    assert [bytes(each.body) for each in ground.stored()] == [b"\0", b"\1", b"\2"]


def test_who_sent_nothing_is_not_woken(ground):
    with started(ground) as writer:
        ground.sleep_at(plan.BELL_CONDUCTOR)
        ground.submit(message())
        writer.do_work(0)
        assert ground.is_asleep(plan.BELL_CONDUCTOR)


def test_the_log_goes_on_from_file_to_file(ground):
    sent, answers = {}, []
    with started(ground) as writer:
        for size_bytes in (3000, 5000, 8184, 100, 8000, 200):
            records = (message_of_size(size_bytes),)
            sent[ground.submit(*records)] = records
            until_idle(writer)
            answers += ground.completions()
    assert len(ground.log.starts()) == 4
    check(ground, sent, answers)


def test_a_later_writer_goes_on_where_the_log_ends(ground):
    sent, answers = {}, []
    for body in (b"first", b"second"):
        with started(ground) as writer:
            records = (message(body=body),)
            sent[ground.submit(*records)] = records
            until_idle(writer)
            answers += ground.completions()
    check(ground, sent, answers)


def test_a_log_that_ends_with_its_file_goes_on_in_the_next(ground):
    bare = BareWriter(ground)
    ground.submit(message_of_size(FILE_BYTES - 8))
    bare.turn()
    bare.roll()
    ground.log.file(FILE_BYTES).unlink()  # as if killed between the blank and the new file
    with started(ground) as writer:
        ground.submit(message(body=b"next"))
        until_idle(writer)
    assert [each.position for each in ground.stored()] == [0, FILE_BYTES]


def test_next_offsets_are_found_behind_what_is_dispatched_and_what_is_not(ground):
    bare = BareWriter(ground)
    for queue in (QUEUES[0], QUEUES[0], QUEUES[2], QUEUES[0]):
        ground.submit(message(queue, b"x" * 3000))
    ground.submit(message(QUEUES[0], sys_flag=0x4))
    while bare.turn():
        pass
    queues, slot = ground.memory.queues, ground.slot(QUEUES[0])
    queues.max[slot] = 1  # the dispatcher has had the first record
    store_word(ground.memory.place("watermarks") + DISPATCHED, ground.stored()[1].position)
    queues.next[:3] = [77, 0, -5]  # whatever a dead writer left
    with started(ground):
        assert [ground.next_of(queue) for queue in QUEUES] == [3, 0, 1]


def test_a_queue_whose_records_are_all_dispatched_goes_on_behind_them(ground):
    ground.memory.queues.max[0] = 41
    with started(ground) as writer:
        ground.submit(message())
        until_idle(writer)
    assert ground.completions()[0].queue_offset == 41


def test_a_log_that_breaks_off_below_its_end_is_an_error(ground):
    BareWriter(ground)
    store_word(ground.memory.place("watermarks") + APPENDED, 100)
    with pytest.raises(StoreError, match="no record lies at position 0"):
        ground.writer().start()


def die_with_answers_out(ground):
    """Fill the answers' ring, and be killed before any is published; return how many there are."""
    answers_max = 4096 // spsc.space_of(submission.COMPLETION_SIZE)
    bare = BareWriter(ground)
    for _ in range(answers_max):
        ground.submit(message())
    while bare.turn():
        pass
    assert len(ground.stored()) == answers_max
    spsc.publish(ground.memory.place("completions/0"), 0)
    spsc.give_back(ground.memory.place("submit/0"), 0)
    ground.set_page("valid", 1)
    return answers_max


def test_a_start_while_the_broker_stops_does_not_wait_for_the_dead(ground):
    die_with_answers_out(ground)
    ground.memory.state = header.STOPPING
    with started(ground) as writer:
        writer.stop()
        assert writer.is_done


def test_a_batch_without_answers_is_answered_at_the_start(ground):
    answers_max = die_with_answers_out(ground)
    with started(ground):
        assert [each.queue_offset for each in ground.completions()] == list(range(answers_max))
    assert spsc.is_empty(ground.memory.place("submit/0"))
    assert len(ground.stored()) == answers_max


def test_all_are_woken_for_what_a_dead_writer_had_done_and_not_rung_for(ground):
    ground.submit(message())
    BareWriter(ground).turn()
    bells = (plan.BELL_FIRST_WORKER, plan.BELL_CONDUCTOR, plan.BELL_DISPATCHER)
    for number in bells:
        ground.sleep_at(number)
    with started(ground):
        assert [ground.is_asleep(number) for number in bells] == [False] * 3


def test_a_broken_ring_is_reported_once_and_taken_from_again(ground):
    ring = ground.memory.place("submit/0")
    with started(ground) as writer:
        for _ in range(2):
            spsc.publish(ring, spsc.produced_position(ring) + (1 << 40))
            assert writer.do_work(0) == 1
            assert [each.status for each in ground.completions()] == [3]
        assert writer._reported == {0}
        ground.submit(message(), sender=1)
        assert writer.do_work(0) == 1
        assert ground.completions(1)[0].status == STORED


def test_a_file_that_is_not_ready_is_waited_for_without_standing_still(ground, monkeypatch):
    with started(ground) as writer:
        monkeypatch.setattr(writer._flusher, "take_next", lambda _start: None)
        ground.submit(message_of_size(8000))
        ground.submit(message_of_size(300))
        writer.do_work(0)
        assert writer.waits_for_file
        assert [each.status for each in ground.completions()] == [STORED]
        assert writer.do_work(0) == 0
        monkeypatch.undo()
        turn_until(writer, lambda: len(ground.stored()) == 2)
        assert not writer.waits_for_file


def test_without_room_for_a_file_messages_are_refused_until_there_is(ground):
    ground.log.file(FILE_BYTES).mkdir()  # nothing can be made there
    with started(ground) as writer:
        ground.submit(message_of_size(8000))
        until_idle(writer)
        ground.submit(message_of_size(300))
        ground.submit(message(), sender=1)
        turn_until(writer, lambda: all(spsc.is_empty(ground.memory.place(f"submit/{i}")) for i in (0, 1)))
        assert [each.status for each in ground.completions()] == [STORED, UNAVAILABLE]
        assert [each.status for each in ground.completions(1)] == [UNAVAILABLE]
        ground.log.file(FILE_BYTES).rmdir()
        answers = []
        while not answers or answers[-1].status != STORED:
            ground.submit(message_of_size(300))
            turn_until(writer, lambda: spsc.is_empty(ground.memory.place("submit/0")))
            answers += ground.completions()
    assert {each.status for each in answers[:-1]} <= {UNAVAILABLE}
    assert [each.position for each in ground.stored()] == [0, FILE_BYTES]


def test_after_a_failed_sync_nothing_is_taken_any_more(tmp_path, monkeypatch):
    flush_groups, address = group_commit.flush_groups, offset_of(group_commit.LAYOUT, "address")

    def flush_what_is_not_mapped(duty):
        store_word(duty + address, 4096)
        flush_groups(duty)

    monkeypatch.setattr(segment, "sync_mapped", lambda *_: -errno.EIO)
    monkeypatch.setattr(group_commit, "flush_groups", flush_what_is_not_mapped)
    ground = WriterGround(tmp_path, flush_disk_type="SYNC_FLUSH")
    with started(ground) as writer:
        ground.submit(message(body=b"lost, perhaps"))
        writer.do_work(0)
        turn_until(writer, lambda: writer._flusher.has_failed)
        ground.submit(message())
        writer.do_work(0)
        assert [each.status for each in ground.completions()] == [STORED, UNAVAILABLE]
        assert ground.memory.watermarks.flushed == 0
        assert len(ground.stored()) == 1


def test_without_its_flush_thread_the_writer_ends(ground):
    writer = ground.writer()
    writer.start()
    writer._flusher.stop()
    with pytest.raises(StoreError, match="flush thread"):
        writer.do_work(0)


def test_in_its_rest_it_commits_what_is_submitted(ground):
    with started(ground) as writer, resting(writer, lambda: ground.ring(plan.BELL_WRITER)):
        for count in (1, 2):
            ground.submit(message())
            ground.ring(plan.BELL_WRITER)
            eventually(lambda count=count: len(ground.stored()) == count)


def test_its_rest_ends_where_a_file_is_full(ground):
    with started(ground) as writer:
        for _ in range(3):
            ground.submit(message(body=b"x" * 3000))
        writer.rest(FOR_LONG_NS)
        assert len(ground.stored()) == 2
        until_idle(writer)
        assert len(ground.stored()) == 3


def test_its_rest_ends_where_a_sender_must_be_looked_at(ground):
    with started(ground) as writer:
        ground.submit(message())
        store_word(ground.memory.place("submit/1"), 1 << 40)  # more published than the ring holds
        writer.rest(FOR_LONG_NS)
        assert len(ground.stored()) == 1


def test_its_rest_ends_where_the_log_has_passed_the_pages_made_ready(tmp_path):
    ground = WriterGround(tmp_path, commit_log_file_bytes=32 << 20)
    with started(ground) as writer:
        eventually(lambda: load_word(writer._flusher.ahead_at) > 0)
        store_word(writer._flusher.ahead_at, 0)
        ground.submit(message())
        writer.rest(FOR_LONG_NS)
        writer.do_work(0)
        eventually(lambda: load_word(writer._flusher.ahead_at) > 0)


def test_it_is_done_when_its_senders_are_gone_and_their_rings_empty(ground):
    with started(ground) as writer:
        writer.stop()
        rows = ground.memory.roster
        roster.note_start(rows[plan.FIRST_WORKER + 1], os.getpid())
        assert not writer.is_done
        rows[plan.FIRST_WORKER + 1]["pid"] = 0
        ground.submit(message())
        assert not writer.is_done
        writer.do_work(0)
        assert writer.is_done


def test_answers_that_nobody_will_read_do_not_keep_it_from_its_end(ground):
    ground.memory.state = header.STOPPING
    tags = [ground.submit(message()) for _ in range(200)]  # more than there is room for answers
    with started(ground) as writer:
        writer.stop()
        turn_until(writer, lambda: writer.is_done)
    assert len(ground.stored()) == len(tags)


def test_answers_to_the_living_are_kept(ground):
    roster.note_start(ground.memory.roster[plan.FIRST_WORKER], os.getpid())
    for _ in range(200):
        ground.submit(message())
    with started(ground) as writer:
        writer.stop()
        until_idle(writer)
        assert writer.do_work(0) == 0
        answers_max = 4096 // spsc.space_of(submission.COMPLETION_SIZE)
        assert len(ground.completions()) == answers_max


def test_a_clean_end_leaves_everything_on_disk_and_no_file_too_many(ground):
    with started(ground) as writer:
        ground.submit(message())
        until_idle(writer)
    marks = ground.memory.watermarks
    assert marks.flushed == marks.appended > 0
    assert ground.log.starts() == [0]
    assert ground.completions()[0].store_ms > NOW_MS


def close_gate(ground, is_closed):
    store_word(ground.memory.place("gates") + gates.DISK_FULL, int(is_closed))
    ground.ring(plan.BELL_WRITER)


def test_while_the_gate_is_closed_everybody_is_refused_and_nothing_is_appended(ground):
    with started(ground) as writer:
        ground.submit(message())
        until_idle(writer)
        end = ground.memory.watermarks.appended
        close_gate(ground, is_closed=True)
        for sender in range(3):
            ground.submit(message(), sender=sender)
        until_idle(writer)
        assert ground.memory.watermarks.appended == end
        assert [each.status for each in ground.completions()] == [STORED, UNAVAILABLE]
        for sender in (1, 2):
            assert [each.status for each in ground.completions(sender)] == [UNAVAILABLE]
        close_gate(ground, is_closed=False)
        ground.submit(message())
        until_idle(writer)
        assert [each.status for each in ground.completions()] == [STORED]
        assert [each.queue_offset for each in ground.stored()] == [0, 1]


def test_its_rest_ends_where_the_gate_moves(ground):
    with started(ground) as writer:
        statuses = []
        for is_closed in (True, False, True):
            closer = threading.Timer(0.05, close_gate, [ground], {"is_closed": is_closed})
            writer.do_work(0)
            closer.start()
            writer.rest(FOR_LONG_NS)  # nothing is submitted: only the gate ends it
            closer.join()
            ground.submit(message())
            until_idle(writer)
            statuses += [each.status for each in ground.completions()]
    assert statuses == [UNAVAILABLE, STORED, UNAVAILABLE]


def test_who_takes_no_refusals_is_not_asked_again_and_again(ground):
    with started(ground) as writer:
        close_gate(ground, is_closed=True)
        for _ in range(200):
            ground.submit(message())
        until_idle(writer)
        assert writer._polled_rows["is_stuck"][0] == 1
        refused = 0
        while found := len(ground.completions()):
            refused += found
            until_idle(writer)
        assert refused == 200
        assert writer._polled_rows["is_stuck"][0] == 0


def test_a_gate_that_was_closed_when_the_writer_started_is_closed(ground):
    close_gate(ground, is_closed=True)
    with started(ground) as writer:
        ground.submit(message())
        until_idle(writer)
        assert [each.status for each in ground.completions()] == [UNAVAILABLE]
