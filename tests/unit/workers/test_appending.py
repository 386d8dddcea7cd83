import pytest

from shmq.broker.outcome import Append, Appended, PutStatus
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell, spsc
from shmq.shared.plan import BELL_WRITER
from shmq.store.watermarks import FLUSHED
from shmq.workers.appending import Appender, Waits
from tests.support.writer_ground import QUEUES, WriterGround, message
from tests.support.writer_lives import NOW_MS, BareWriter

WAITS = Waits(ring_ms=200, flush_ms=5000)


class Sender:
    """An Appender, the writer at the other end, and what was answered."""

    def __init__(self, root, *, is_sync_flush=False, epoch=1):
        self.ground = WriterGround(root, commit_log_file_bytes=1 << 20)
        self.writer = BareWriter(self.ground)
        self.appender = self.new_appender(epoch=epoch, is_sync_flush=is_sync_flush)
        self.answered = []

    def new_appender(self, *, epoch, is_sync_flush=False):
        return Appender(self.ground.memory, 0, epoch, is_sync_flush, WAITS)

    def submit(self, *records, now_ms=NOW_MS, wait_flush=True, is_patient=False):
        queue = (records[0].topic, records[0].queue_id)

        def later(_appended):
            raise AssertionError("an Appender calls what it was given beside the Append")

        append = Append(self.ground.slot(queue), records, wait_flush, later)
        self.appender.submit(append, self.answered.append, now_ms, is_patient=is_patient)

    def fill_ring(self):
        """Submit until the ring is full; return how many it holds."""
        count = 0
        while not self.appender.is_full:
            self.submit(message(body=b"x" * 60_000))
            count += 1
        return count - 1

    def flush_to(self, position):
        store_word(self.ground.memory.place("watermarks") + FLUSHED, position)


@pytest.fixture
def sender(tmp_path):
    return Sender(tmp_path)


def test_an_append_is_answered_with_where_it_lies(sender):
    sender.submit(message(body=b"one"))
    sender.submit(message(body=b"two"), message(body=b"three"))
    assert sender.appender.in_flight == 2
    assert sender.appender.collect(NOW_MS) == 0
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 2
    one, two, three = sender.ground.stored()
    assert sender.answered == [
        Appended(PutStatus.PUT_OK, 0, (one.position,), NOW_MS),
        Appended(PutStatus.PUT_OK, 1, (two.position, three.position), NOW_MS),
    ]
    assert sender.appender.in_flight == 0


def test_nothing_is_answered_before_it_is_collected(sender):
    sender.submit(message())
    sender.writer.turn()
    assert sender.answered == []
    assert not sender.appender.is_idle
    sender.appender.collect(NOW_MS)
    assert sender.appender.is_idle


def test_the_writer_is_woken_once_for_all_that_was_submitted(sender):
    bell = sender.ground.memory.bell(BELL_WRITER)
    sender.submit(message())
    doorbell.will_sleep(bell)
    sender.submit(message())
    assert load_word(bell + doorbell.SLEEPING) == 1
    sender.appender.flush()
    assert load_word(bell + doorbell.SLEEPING) == 0
    doorbell.will_sleep(bell)
    sender.appender.flush()
    assert load_word(bell + doorbell.SLEEPING) == 1


def test_the_writer_is_woken_for_what_a_predecessor_had_submitted_and_not_rung_for(sender):
    sender.submit(message())
    bell = sender.ground.memory.bell(BELL_WRITER)
    doorbell.will_sleep(bell)
    sender.new_appender(epoch=2).flush()
    assert load_word(bell + doorbell.SLEEPING) == 0


def test_a_writer_that_waits_for_room_for_answers_is_woken(sender):
    sender.submit(message())
    sender.writer.turn()
    bell = sender.ground.memory.bell(BELL_WRITER)
    doorbell.will_sleep(bell)
    sender.appender.collect(NOW_MS)
    assert load_word(bell + doorbell.SLEEPING) == 0


def test_what_the_writer_refuses_is_answered_with_its_status(sender):
    sender.submit(message((b"A", 7)))  # a queue without a slot
    sender.writer.turn()
    sender.appender.collect(NOW_MS)
    assert sender.answered == [Appended(PutStatus.MESSAGE_ILLEGAL, 0, (), 0)]


def test_what_finds_the_ring_full_follows_in_order(sender):
    held = sender.fill_ring()
    sender.submit(message(body=b"last"))
    assert len(sender.ground.stored()) == 0
    assert sender.appender.in_flight == held + 2
    sender.writer.turn()
    sender.appender.collect(NOW_MS)
    assert not sender.appender.is_full
    sender.writer.turn()
    sender.appender.collect(NOW_MS)
    assert [each.status for each in sender.answered] == [PutStatus.PUT_OK] * (held + 2)
    assert [each.queue_offset for each in sender.answered] == list(range(held + 2))
    assert bytes(sender.ground.stored()[-1].body) == b"last"


def test_what_waits_for_the_ring_too_long_is_answered_busy(sender):
    held = sender.fill_ring()
    sender.submit(message(body=b"x" * 60_000), now_ms=NOW_MS + 1)
    assert sender.appender.collect(NOW_MS + 199) == 0
    assert sender.appender.collect(NOW_MS + 200) == 1
    assert sender.answered == [Appended(PutStatus.SYSTEM_BUSY, 0, (), 0, waited_ms=200, waiting_count=1)]
    assert sender.appender.collect(NOW_MS + 201) == 1
    assert not sender.appender.is_full
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS + 202) == held  # what is in the ring is stored all the same


def test_what_is_patient_waits_on_and_holds_up_nobody_else(sender):
    held = sender.fill_ring()
    sender.appender.collect(NOW_MS)
    sender.submit(message(body=b"one way"), is_patient=True)
    sender.submit(message(body=b"answered"))
    sender.appender.collect(NOW_MS + WAITS.ring_ms)
    assert [each.status for each in sender.answered] == [
        PutStatus.SYSTEM_BUSY
    ] * 2  # and what filled the ring
    sender.writer.turn()
    sender.appender.collect(NOW_MS + WAITS.ring_ms)
    sender.writer.turn()
    sender.appender.collect(NOW_MS + WAITS.ring_ms)
    assert [bytes(each.body) for each in sender.ground.stored()][held:] == [b"one way"]


def test_what_no_ring_can_hold_is_refused_and_holds_up_nobody(sender):
    """A batch may be small as it comes in, and long as records."""
    sender.submit(*[message(body=b"x" * 1000)] * 300)
    assert not sender.appender.is_full
    assert not sender.appender.is_idle
    sender.submit(message())
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 2
    assert {each.status for each in sender.answered} == {PutStatus.MESSAGE_ILLEGAL, PutStatus.PUT_OK}
    assert sender.appender.is_idle
    assert sender.appender.in_flight == 0


def test_answers_for_a_predecessor_are_nobodys(sender):
    sender.submit(message())
    sender.writer.turn()
    sender.appender = sender.new_appender(epoch=2)
    sender.submit(message())
    assert sender.appender.collect(NOW_MS) == 0
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 1
    assert [each.queue_offset for each in sender.answered] == [1]


def test_a_second_answer_is_nobodys(sender):
    sender.submit(message())
    sender.writer.turn()
    spsc.give_back(sender.ground.memory.place("submit/0"), 0)  # and so it is taken again
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 1
    assert len(sender.answered) == 1


def test_under_sync_flush_an_answer_waits_for_the_disk(tmp_path):
    sender = Sender(tmp_path, is_sync_flush=True)
    sender.submit(message(body=b"one"))
    sender.submit(message(body=b"two"))
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 0
    assert sender.appender.wants_flush_news
    assert sender.appender.is_idle
    second = sender.ground.stored()[1].position
    sender.flush_to(second)
    assert not sender.appender.is_idle  # the flush may come between the look and the sleep
    assert sender.appender.collect(NOW_MS) == 1
    assert sender.appender.in_flight == 1
    sender.flush_to(second + 1000)
    assert sender.appender.collect(NOW_MS + 4999) == 1
    assert [each.status for each in sender.answered] == [PutStatus.PUT_OK, PutStatus.PUT_OK]
    assert not sender.appender.wants_flush_news


def test_under_sync_flush_a_disk_that_is_too_slow_is_told_apart(tmp_path):
    sender = Sender(tmp_path, is_sync_flush=True)
    sender.submit(message())
    sender.writer.turn()
    assert sender.appender.wait_ms(NOW_MS, 30_000) == 30_000
    assert sender.appender.collect(NOW_MS) == 0
    assert [sender.appender.wait_ms(NOW_MS + ms, 1000) for ms in (0, 4900, 6000)] == [1000, 100, 0]
    assert sender.appender.collect(NOW_MS + 4999) == 0
    assert sender.appender.collect(NOW_MS + 5000) == 1
    assert sender.answered == [Appended(PutStatus.FLUSH_DISK_TIMEOUT, 0, (0,), NOW_MS)]


def test_under_sync_flush_who_need_not_wait_does_not(tmp_path):
    sender = Sender(tmp_path, is_sync_flush=True)
    sender.submit(message(QUEUES[1]), wait_flush=False)
    sender.writer.turn()
    assert sender.appender.collect(NOW_MS) == 1
    assert sender.answered[0].status == PutStatus.PUT_OK
