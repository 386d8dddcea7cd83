"""What becomes of submissions: completions, refusals, waits for the flush, and what is not ours."""

import struct

import pytest

from shmq.broker.outcome import Append, PutStatus
from shmq.fastpath import completing, connections, desk
from shmq.fastpath.completing import collect, flush_deadline_ms, release_flushed
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.memory.endian import store_native_i64
from shmq.memory.words import load_word
from shmq.ring import spsc
from shmq.shared import submission
from shmq.shared.plan import BELL_WRITER
from shmq.store.position import NONE
from shmq.wire.codes import ResponseCode
from shmq.wire.command import decode
from shmq.wire.frame import FrameReader
from shmq.workers.appending import Appender
from tests.golden.test_wire_frames import GOLDEN
from tests.support.fast_senders import WAITS, FastSender, PythonSender
from tests.support.frames import BINARY, JSON, binary_header, frame_of
from tests.support.writer_ground import QUEUES, message, offer
from tests.support.writer_lives import NOW_MS

KEY = b"7F0000010001000000000000000000AA"
SEND = GOLDEN["send_json"]


def send_frame(body, *, properties=b"UNIQ_KEY\x01" + KEY + b"\x02", flag=0, topic=b"TopicTest"):
    fields = [
        *((b"a", b"PG"), (b"b", topic), (b"c", b"TBW102"), (b"d", b"4"), (b"e", b"1"), (b"f", b"0")),
        *((b"g", b"1"), (b"h", b"0"), (b"i", properties)),
    ]
    return frame_of(binary_header(310, fields, flag=flag), body, BINARY)


def codes(frames):
    return [decode(FrameReader().feed(frame)[0]).code for frame in frames]


@pytest.fixture
def fast(tmp_path):
    return FastSender(tmp_path)


@pytest.fixture
def pair(tmp_path):
    settings = {"flush_disk_type": "SYNC_FLUSH", "sync_flush_timeout_ms": WAITS.flush_ms}
    return FastSender(tmp_path / "fast", **settings), PythonSender(tmp_path / "python", **settings)


def test_answers_come_in_the_order_of_their_sends(fast):
    for opaque in range(50):
        assert fast.send(SEND.replace(b'"opaque":7', b'"opaque":%d' % (opaque % 10))) == DONE
    assert fast.tables.in_flight == 50
    assert fast.take() == []
    fast.turn()
    answers = [decode(FrameReader().feed(frame)[0]) for frame in fast.take()]
    assert [answer.opaque for answer in answers] == [opaque % 10 for opaque in range(50)]
    assert [answer.fields["queueOffset"] for answer in answers] == [str(offset) for offset in range(50)]
    assert fast.tables.in_flight == 0


def test_a_send_is_news_for_the_writer(fast):
    assert fast.word(desk.HAS_SUBMITTED) == 0
    fast.send(SEND)
    assert fast.word(desk.HAS_SUBMITTED) == 1


def test_a_send_behind_a_frame_of_pythons_is_pythons_too(fast):
    connections.set_flag(fast.row, connections.HANDED_UP)
    assert fast.send(SEND) == SLOW
    connections.clear_flag(fast.row, connections.HANDED_UP)
    assert fast.send(SEND) == DONE


def test_a_send_does_not_overtake_what_python_has_waiting(fast):
    appender = Appender(fast.memory, 0, 1, False, WAITS, fast.desk)
    answered = []
    while not appender.is_full:
        append = Append(fast.slot(QUEUES[0]), (message(body=b"x" * 60_000),), True, lambda _: None)
        appender.submit(append, answered.append, NOW_MS)
    assert fast.send(SEND) == SLOW
    fast.turn()
    collect(fast.desk)
    appender.collect(NOW_MS)
    assert not appender.is_full
    assert fast.send(SEND) == DONE
    fast.turn()
    collect(fast.desk)
    appender.collect(NOW_MS)
    assert appender.in_flight == 0
    assert {each.status for each in answered} == {PutStatus.PUT_OK}


def test_a_full_ring_is_pythons(fast):
    sent = 0
    while fast.send(send_frame(b"x" * 50_000)) == DONE:
        sent += 1
    assert sent == fast.tables.in_flight > 0
    fast.turn()
    assert len(fast.take()) == sent
    assert fast.send(send_frame(b"x" * 50_000)) == DONE


def test_a_full_table_is_pythons(tmp_path, monkeypatch):
    monkeypatch.setattr("shmq.fastpath.tables.PENDING_ROWS", 3)
    fast = FastSender(tmp_path)
    assert [fast.send(SEND) for _ in range(4)] == [DONE, DONE, DONE, SLOW]
    fast.turn()
    assert len(fast.take()) == 3
    assert [fast.send(SEND) for _ in range(4)] == [DONE, DONE, DONE, SLOW]
    fast.turn()
    assert len(fast.take()) == 3


def test_a_connection_that_is_gone_gets_no_answer(fast):
    fast.send(SEND)
    store_native_i64(fast.row + connections.ID, 8)  # the row is another's by now
    fast.send(SEND)
    fast.turn()
    assert len(fast.take()) == 1
    fast.send(SEND)
    connections.clear_flag(fast.row, connections.OPEN)
    fast.turn()
    assert fast.take() == []
    assert fast.tables.in_flight == 0


def test_a_predecessors_completions_are_nobodys(tmp_path):
    fast = FastSender(tmp_path, epoch=1)
    fast.send(SEND)
    fast.tables = type(fast.tables)(fast.desk, fast.memory, fast.replica, 0, 2)  # the successor's
    for update in map(fast.update, fast.topics.values()):
        fast.tables.apply(update)
    fast.send(SEND)
    fast.turn()
    assert len(fast.take()) == 1
    assert load_word(fast.word(desk.FOREIGN)) == 0


def test_a_completion_that_comes_twice_is_answered_once(fast):
    fast.send(SEND)
    fast.turn()
    ring = fast.word(desk.COMPLETIONS)
    letter = spsc.peek(ring, spsc.consumed_position(ring))
    offer(ring, struct.pack("<iiqqq", 0, 1, 0, 0, NOW_MS), submission.COMPLETION, letter.tag)
    assert len(fast.take()) == 1
    assert fast.tables.in_flight == 0


def test_pythons_completions_are_left_to_it(fast):
    appender = Appender(fast.memory, 0, 1, False, WAITS, fast.desk)
    answered = []
    append = Append(fast.slot(QUEUES[0]), (message(), message()), True, lambda _: None)
    appender.submit(append, answered.append, NOW_MS)
    fast.send(SEND)
    appender.submit(append, answered.append, NOW_MS)
    fast.turn()
    assert not appender.is_idle
    assert len(fast.take()) == 1
    assert not appender.is_idle
    assert appender.collect(NOW_MS) == 2
    assert [each.queue_offset for each in answered] == [0, 2]
    assert appender.is_idle
    assert appender.in_flight == 0


def test_a_full_list_for_python_holds_up_what_is_behind_it(tmp_path):
    fast = FastSender(tmp_path, completion_ring_bytes=1 << 17, submit_ring_bytes=1 << 19)
    ring = fast.word(desk.COMPLETIONS)
    fast.send(SEND)
    for number in range(completing.FOREIGN_MAX + 1):
        offer(ring, struct.pack("<iiqqq", 0, 1, 0, 0, NOW_MS), submission.COMPLETION, number)
    fast.turn()
    assert fast.take() == []
    assert load_word(fast.word(desk.FOREIGN)) == completing.FOREIGN_MAX
    Appender(fast.memory, 0, 1, False, WAITS, fast.desk).collect(NOW_MS)
    assert len(fast.take()) == 1
    assert load_word(fast.word(desk.FOREIGN)) == 1


def test_the_writer_is_woken_where_it_may_have_stopped_for_room(fast):
    ring = fast.word(desk.COMPLETIONS)
    fast.sleep_at(BELL_WRITER)
    offer(ring, struct.pack("<iiqqq", 0, 1, 0, 0, NOW_MS), submission.COMPLETION, 1)
    fast.take()
    assert fast.is_asleep(BELL_WRITER)
    while spsc.claim(ring, submission.COMPLETION_SIZE) >= 0:
        offer(ring, struct.pack("<iiqqq", 0, 1, 0, 0, NOW_MS), submission.COMPLETION, 1)
    fast.take()
    assert not fast.is_asleep(BELL_WRITER)


@pytest.mark.parametrize("status", [2, 3, 4, 5])
@pytest.mark.parametrize("encoding", [JSON, BINARY])
def test_what_the_writer_refuses_is_answered_as_python_answers(tmp_path, status, encoding):
    frame = GOLDEN["send_json" if encoding == JSON else "send_binary"]
    senders = FastSender(tmp_path / "fast"), PythonSender(tmp_path / "python")
    answers = []
    for sender in senders:
        sender.send(frame)
        ring = sender.memory.place("submit/0")
        letter = spsc.peek(ring, spsc.consumed_position(ring))
        completion = struct.pack("<iiqqq", status, 0, 0, 0, 0)
        offer(sender.memory.place("completions/0"), completion, submission.COMPLETION, letter.tag)
        answers.append(sender.take())
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1
    assert codes(answers[0]) != [ResponseCode.SUCCESS]
    assert senders[0].tables.in_flight == 0


def test_a_oneway_send_is_not_even_refused(fast):
    fast.send(send_frame(b"x", flag=2))
    ring = fast.memory.place("submit/0")
    letter = spsc.peek(ring, spsc.consumed_position(ring))
    completion = struct.pack("<iiqqq", 2, 0, 0, 0, 0)
    offer(fast.memory.place("completions/0"), completion, submission.COMPLETION, letter.tag)
    assert fast.take() == []
    assert fast.tables.in_flight == 0


class TestSyncFlush:
    def test_an_answer_waits_until_its_message_is_on_disk(self, pair):
        begin = pair[0].appended
        for sender in pair:
            sender.send(SEND)
            sender.send(SEND)
            sender.turn()
            sender.flush_to(begin)
        assert [sender.take() for sender in pair] == [[], []]
        assert flush_deadline_ms(pair[0].desk) != NONE
        half = pair[0].appended // 2
        for sender in pair:
            sender.flush_to(half)
        first = [sender.take() for sender in pair]
        assert first[0] == first[1]
        assert len(first[0]) == 1
        for sender in pair:
            sender.flush_to(pair[0].appended)
        rest = [sender.take() for sender in pair]
        assert rest[0] == rest[1]
        assert len(rest[0]) == 1
        assert flush_deadline_ms(pair[0].desk) == NONE

    def test_an_answer_says_so_when_its_message_did_not_get_to_the_disk_in_time(self, pair):
        for sender in pair:
            sender.send(SEND)
            sender.turn()
            assert sender.take() == []
            assert sender.take(NOW_MS + WAITS.flush_ms - 1) == []
        assert flush_deadline_ms(pair[0].desk) == NOW_MS + WAITS.flush_ms
        late = [sender.take(NOW_MS + WAITS.flush_ms) for sender in pair]
        assert late[0] == late[1]
        assert codes(late[0]) == [ResponseCode.FLUSH_DISK_TIMEOUT]
        assert flush_deadline_ms(pair[0].desk) == NONE

    def test_a_message_that_need_not_be_safe_is_answered_at_once(self, pair):
        frame = send_frame(b"x", properties=b"UNIQ_KEY\x01" + KEY + b"\x02WAIT\x01false\x02")
        for sender in pair:
            sender.send(SEND)
            sender.send(frame)
            sender.turn()
        at_once = [sender.take() for sender in pair]
        assert at_once[0] == at_once[1]
        assert len(at_once[0]) == 1

    def test_nothing_is_released_where_nothing_waits(self, pair):
        assert release_flushed(pair[0].desk) == 0


def test_news_of_a_topic_change_what_is_plain(fast):
    config = fast.topics["TopicTest"]
    update = fast.update(config)
    fast.apply(type(update)(update.name, update.topic_id, None, ()))
    assert fast.send(SEND) == SLOW
    fast.apply(update)
    assert fast.send(SEND) == DONE
