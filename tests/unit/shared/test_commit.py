import struct

import pytest

from shmq.memory.words import load_word
from shmq.ring import spsc
from shmq.shared import commit, submission
from shmq.store import record
from shmq.store.watermarks import APPENDED
from tests.support.writer_ground import QUEUES, WriterGround, encode, message, message_of_size
from tests.support.writer_lives import NOW_MS, BareWriter, check

STORED, UNAVAILABLE, ILLEGAL = 0, 2, 3
FILE_BYTES = 8192


@pytest.fixture
def ground(tmp_path):
    return WriterGround(tmp_path)


@pytest.fixture
def writer(ground):
    return BareWriter(ground)


def appended(ground):
    return load_word(ground.memory.place("watermarks") + APPENDED)


def is_drained(ground, sender=0):
    return spsc.is_empty(ground.memory.place(f"submit/{sender}"))


def refuse(ground, writer):
    """Refuse what lies in the first sender's ring, as when the disk is full."""
    return commit.refuse(ground.places(writer.segment), ground.sender(), UNAVAILABLE)


def head(slot, count, records_bytes):
    return struct.pack("<iiii", slot, count, records_bytes, 0)


def test_an_empty_ring_is_idle_and_leaves_no_trace(ground, writer):
    assert writer.turn() == commit.IDLE
    assert (appended(ground), ground.page("valid"), ground.page("dirty_end")) == (0, 0, 0)
    assert ground.completions() == []


def test_a_submission_is_stored_and_answered_with_its_place(ground, writer):
    first = ground.submit(message(body=b"one"))
    second = ground.submit(message(body=b"two"), message(body=b"three"))
    assert writer.turn() == commit.COMMITTED
    one, two, three = ground.stored()
    assert [bytes(each.body) for each in (one, two, three)] == [b"one", b"two", b"three"]
    assert [each.queue_offset for each in (one, two, three)] == [0, 1, 2]
    answers = ground.completions()
    assert [(a.tag, a.status, a.count, a.queue_offset, a.position, a.store_ms) for a in answers] == [
        (first, STORED, 1, 0, 0, NOW_MS),
        (second, STORED, 2, 1, two.position, NOW_MS),
    ]
    assert is_drained(ground)
    assert ground.page("valid") == 0


def test_each_queue_has_offsets_of_its_own(ground, writer):
    for queue in (*QUEUES, *QUEUES, QUEUES[0]):
        ground.submit(message(queue))
    writer.turn()
    assert [ground.next_of(queue) for queue in QUEUES] == [3, 2, 2]
    assert [a.queue_offset for a in ground.completions()] == [0, 0, 0, 1, 1, 1, 2]


def test_prepared_and_rolled_back_records_take_no_queue_offset(ground, writer):
    for sys_flag in (0x4, 0x8, 0xC, 0x0):
        ground.submit(message(sys_flag=sys_flag))
    writer.turn()
    assert [each.queue_offset for each in ground.stored()] == [0, 0, 0, 1]
    assert ground.next_of(QUEUES[0]) == 2


def test_store_times_never_go_back(ground, writer):
    ground.submit(message())
    writer.turn(now_ms=NOW_MS)
    ground.submit(message())
    writer.turn(now_ms=NOW_MS - 5000)
    assert [each.store_timestamp_ms for each in ground.stored()] == [NOW_MS, NOW_MS]


def test_the_last_store_time_is_that_of_a_stored_record(ground, writer):
    ground.submit(message())
    writer.turn(now_ms=NOW_MS)
    writer.turn(now_ms=NOW_MS + 100)
    assert ground.page("store_ms") == NOW_MS  # a checkpoint newer than the log would not be believed


def test_a_batch_ends_behind_the_submission_that_reaches_its_bound(ground, writer):
    for _ in range(3):
        ground.submit(message_of_size(200))
    assert writer.turn(batch_bytes_max=201) == commit.COMMITTED
    assert appended(ground) == 400
    assert writer.turn(batch_bytes_max=201) == commit.COMMITTED
    assert appended(ground) == 600


def test_without_room_for_answers_a_submission_waits(ground, writer):
    answers_max = 4096 // spsc.space_of(submission.COMPLETION_SIZE)
    tags = [ground.submit(message()) for _ in range(answers_max + 3)]
    while writer.turn() != commit.IDLE:
        pass
    assert len(ground.stored()) == answers_max
    assert not is_drained(ground)
    answered = ground.completions()
    writer.turn()
    answered += ground.completions()
    assert [each.tag for each in answered] == tags


def test_a_record_that_leaves_just_enough_for_the_blank_still_fits(ground, writer):
    ground.submit(message_of_size(FILE_BYTES - record.BLANK_BYTES_MIN))
    assert writer.turn() == commit.COMMITTED
    assert appended(ground) == FILE_BYTES - record.BLANK_BYTES_MIN
    ground.submit(message())
    assert writer.turn() == commit.NEEDS_FILE
    assert appended(ground) == FILE_BYTES
    assert writer.turn() == commit.COMMITTED
    assert [each.position for each in ground.stored()] == [0, FILE_BYTES]


def test_a_record_that_leaves_one_byte_too_few_goes_to_the_next_file(ground, writer):
    ground.submit(message_of_size(200))
    ground.submit(message_of_size(FILE_BYTES - 200 - record.BLANK_BYTES_MIN + 1))
    assert writer.turn() == commit.NEEDS_FILE
    assert writer.turn() == commit.COMMITTED
    assert [each.position for each in ground.stored()] == [0, FILE_BYTES]


def test_what_fits_no_file_at_all_is_refused(ground, writer):
    ground.submit(message_of_size(FILE_BYTES - record.BLANK_BYTES_MIN + 1))
    kept = ground.submit(message())
    assert writer.turn() == commit.COMMITTED
    assert [(a.tag, a.status) for a in ground.completions()] == [(kept - 1, ILLEGAL), (kept, STORED)]
    assert len(ground.stored()) == 1


def test_a_batch_before_a_full_file_is_committed_with_it(ground, writer):
    sent = {}
    for size_bytes in (3000, 3000, 3000, 8000, 200):
        records = (message_of_size(size_bytes),)
        sent[ground.submit(*records)] = records
    while writer.turn() != commit.IDLE:
        pass
    assert ground.log.starts() == [0, FILE_BYTES, 2 * FILE_BYTES, 3 * FILE_BYTES]
    check(ground, sent, ground.completions())


def test_closing_a_file_that_is_full_to_the_end_does_nothing(ground, writer):
    writer.roll()
    places = ground.places(ground.log.open(0, writable=True))
    commit.close_file(places)
    assert appended(ground) == FILE_BYTES


def spoiled():
    """Submissions that are wrong in one way each."""
    good = encode([message(body=b"abc")])
    size = len(good)
    pair = good + good
    other_topic, other_queue = encode([message(QUEUES[2], b"abc")]), encode([message(QUEUES[1], b"abc")])
    unknown = encode([message((b"Z", 0), b"abc")])
    longer_topic = encode([message((b"AA", 0), b"abc")])

    def changed(at, content):
        return head(0, 1, size) + good[:at] + content + good[at + len(content) :]

    return {
        "nothing": b"",
        "half a head": b"\0" * 15,
        "a head alone": head(0, 1, 0),
        "no records, though counted": head(0, 0, size) + good,
        "a negative count": head(0, -1, size) + good,
        "more records than there are": head(0, 2, size) + good,
        "fewer records than there are": head(0, 1, 2 * size) + pair,
        "a count beyond all bounds": head(0, 2**31 - 1, size) + good,
        "records longer than the payload": head(0, 1, size + 1) + good,
        "records shorter than the payload": head(0, 1, size - 1) + good,
        "records of a negative length": head(0, 1, -size) + good,
        "a negative slot": head(-1, 1, size) + good,
        "a slot of no queue": head(3, 1, size) + good,
        "a slot far outside": head(2**31 - 1, 1, size) + good,
        "the slot of another queue": head(1, 1, size) + good,
        "a record of another queue": head(0, 1, size) + other_queue,
        "a record of another topic": head(0, 1, size) + other_topic,
        "one of two for another queue": head(0, 2, 2 * size) + good + other_queue,
        "an unknown topic": head(0, 1, size) + unknown,
        "a topic that only begins alike": head(0, 1, size + 1) + longer_topic,
        "garbage": head(0, 1, 200) + bytes(range(200)),
        "zeros": head(0, 1, 200) + bytes(200),
        "ones": head(0, 1, 200) + b"\xff" * 200,
        "a blank": head(0, 1, size) + struct.pack(">ii", size, record.BLANK_MAGIC) + good[8:],
        "another magic": changed(4, b"\0"),
        "a record said to be longer": changed(0, struct.pack(">i", size + 1)),
        "a record said to be shorter": changed(0, struct.pack(">i", size - 1)),
        "a record without length": changed(0, struct.pack(">i", 0)),
        "a record of negative length": changed(0, struct.pack(">i", -size)),
        "a body longer than the record": changed(record.BODY_SIZE, struct.pack(">i", 2**31 - 1)),
        "a body shorter than the record": changed(record.BODY_SIZE, struct.pack(">i", 2)),
        "an IPv6 host that is not there": changed(record.SYS_FLAG, struct.pack(">i", record.BORN_HOST_V6)),
        "properties that are not there": head(0, 1, size) + good[:-2] + b"\x7f\xff",
    }


@pytest.mark.parametrize("name", spoiled())
def test_a_bad_submission_is_answered_illegal_and_stores_nothing(ground, writer, name):
    before = ground.submit(message(body=b"before"))
    bad = ground.submit_bytes(spoiled()[name])
    after = ground.submit(message(body=b"after"))
    assert writer.turn() == commit.COMMITTED
    statuses = {each.tag: each.status for each in ground.completions()}
    assert statuses == {before: STORED, bad: ILLEGAL, after: STORED}
    assert [bytes(each.body) for each in ground.stored()] == [b"before", b"after"]
    assert [each.queue_offset for each in ground.stored()] == [0, 1]
    assert is_drained(ground)


def test_a_record_of_another_kind_is_answered_illegal(ground, writer):
    encoded = encode([message()])
    tag = ground.submit_bytes(head(0, 1, len(encoded)) + encoded, kind=submission.COMPLETION)
    writer.turn()
    assert [(each.tag, each.status) for each in ground.completions()] == [(tag, ILLEGAL)]
    assert appended(ground) == 0


@pytest.mark.parametrize("size_bytes", [-2, -100, -(2**31), 4096, 2**31 - 1])
def test_a_head_of_impossible_length_spoils_its_own_ring_and_no_other(ground, writer, size_bytes):
    ring = ground.memory.place("submit/0")
    ground.submit(message(body=b"before"))
    position = spsc.produced_position(ring)
    assert spsc.claim(ring, 64) == position
    after = spsc.fill_head(ring, position, 64, submission.SUBMISSION, 99)
    spsc.fill_head(ring, position, size_bytes, submission.SUBMISSION, 99)
    spsc.publish(ring, after)
    writer.turn()
    assert is_drained(ground)
    assert [(each.tag, each.status) for each in ground.completions()] == [(1, STORED), (99, ILLEGAL)]
    ground.submit(message(body=b"later"))
    ground.submit(message(body=b"other"), sender=1)
    writer.turn(0)
    writer.turn(1)
    assert [bytes(each.body) for each in ground.stored()] == [b"before", b"later", b"other"]


def test_refusing_answers_everything_and_stores_nothing(ground, writer):
    tags = [ground.submit(message()) for _ in range(5)]
    assert refuse(ground, writer) == 5
    assert [(a.tag, a.status, a.count, a.position) for a in ground.completions()] == [
        (tag, 2, 0, 0) for tag in tags
    ]
    assert is_drained(ground)
    assert writer.turn() == commit.IDLE


def test_refusing_stops_where_there_is_no_room_for_answers(ground, writer):
    answers_max = 4096 // spsc.space_of(submission.COMPLETION_SIZE)
    for _ in range(answers_max + 2):
        ground.submit(message())
    assert refuse(ground, writer) == answers_max
    assert refuse(ground, writer) == 0
    ground.completions()
    assert refuse(ground, writer) == 2


def test_an_untouched_page_has_no_unfinished_batch(ground):
    assert (
        commit.unfinished_ring(ground.memory.place("writer"), ground.memory.place("watermarks") + APPENDED)
        == -1
    )


def test_an_intent_that_appended_did_not_pass_is_forgotten(ground):
    ground.set_page("appended_after", 100)
    ground.set_page("valid", 1)
    page, marks = ground.memory.place("writer"), ground.memory.place("watermarks")
    assert commit.unfinished_ring(page, marks + APPENDED) == -1
    assert ground.page("valid") == 0


def died_before_the_end(ground, writer):
    """Commit, and put back what a writer writes last, as if it had been killed before: answers, cursor, intent."""
    writer.turn()
    answered = spsc.produced_position(ground.memory.place("completions/0"))
    assert ground.page("answered_after") == answered
    spsc.publish(ground.memory.place("completions/0"), ground.page("answered_before"))
    spsc.give_back(ground.memory.place("submit/0"), ground.page("consumed_before"))
    ground.set_page("valid", 1)


@pytest.mark.parametrize("is_published", [False, True])
def test_a_batch_that_stands_is_answered_once(ground, writer, is_published):
    kept = ground.submit(message(body=b"kept"))
    refused = ground.submit_bytes(b"")
    died_before_the_end(ground, writer)
    if is_published:
        spsc.publish(ground.memory.place("completions/0"), ground.page("answered_after"))
    else:
        assert ground.completions() == []
    page, marks = ground.memory.place("writer"), ground.memory.place("watermarks")
    assert commit.unfinished_ring(page, marks + APPENDED) == 0
    commit.resume(page, ground.sender())
    assert [(each.tag, each.status) for each in ground.completions()] == [(kept, STORED), (refused, ILLEGAL)]
    assert is_drained(ground)
    assert ground.page("valid") == 0
    assert len(ground.stored()) == 1


def test_rings_that_were_given_to_somebody_else_are_left_alone(ground, writer):
    ground.submit(message())
    writer.turn()
    ground.completions()
    ground.submit(message())
    died_before_the_end(ground, writer)
    for name in ("submit/0", "completions/0"):
        ring = ground.memory.place(name)
        spsc.publish(ring, 0)
        spsc.give_back(ring, 0)
    commit.resume(ground.memory.place("writer"), ground.sender())
    assert is_drained(ground)
    assert ground.completions() == []
    assert ground.page("valid") == 0
