"""Whatever senders submit, good or bad, the log holds the good in each sender's order, and all are answered."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.shared import commit
from tests.support.writer_ground import QUEUES, WriterGround, encode, message
from tests.support.writer_lives import BareWriter, check

SENDERS = 3
STORED, ILLEGAL = 0, 3

good = st.tuples(st.sampled_from(QUEUES), st.lists(st.integers(0, 2500), min_size=1, max_size=3))
garbage = st.binary(max_size=200)
damaged = st.tuples(st.integers(0, 111), st.integers(1, 255))  # a byte of a good submission's, and its change
submissions = st.lists(st.tuples(st.integers(0, SENDERS - 1), st.one_of(good, garbage)), max_size=15)


@given(submissions=submissions, batch_bytes_max=st.sampled_from([1, 3000, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_the_good_is_stored_in_order_and_everything_is_answered(
    tmp_path_factory, submissions, batch_bytes_max
):
    ground = WriterGround(tmp_path_factory.mktemp("store"))
    sent, bad, order = {}, set(), [[] for _ in range(SENDERS)]
    for serial, (sender, what) in enumerate(submissions):
        if isinstance(what, bytes):
            bad.add(ground.submit_bytes(what, sender=sender))
            continue
        queue, sizes = what
        records = tuple(message(queue, bytes([serial]) * (size + 1)) for size in sizes)
        sent[ground.submit(*records, sender=sender)] = records
        order[sender] += [bytes(each.body) for each in records]
    writer = BareWriter(ground)
    while any(
        writer.turn(sender, batch_bytes_max=batch_bytes_max) != commit.IDLE for sender in range(SENDERS)
    ):
        continue
    answers = [each for sender in range(SENDERS) for each in ground.completions(sender)]
    assert len(answers) == len(submissions)
    assert {each.tag for each in answers if each.status == ILLEGAL} == bad
    check(ground, sent, [each for each in answers if each.status == STORED])
    stored = [bytes(each.body) for each in ground.stored()]
    for bodies in order:
        assert [each for each in stored if each in bodies] == bodies


@given(changes=st.lists(damaged, min_size=1, max_size=3), count=st.integers(1, 2))
@settings(max_examples=150, deadline=None)
def test_a_damaged_submission_is_stored_whole_or_refused(tmp_path_factory, changes, count):
    """Damage to what is not checked (flag, times, body) is stored as it came; nothing else is harmed."""
    ground = WriterGround(tmp_path_factory.mktemp("store"))
    encoded = encode([message(body=b"some body", properties=b"K\x01V\x02")] * count)
    payload = bytearray(
        b"".join(value.to_bytes(4, "little") for value in (0, count, len(encoded), 0)) + encoded
    )
    for at, change in changes:
        payload[at] ^= change
    tag = ground.submit_bytes(bytes(payload))
    after = ground.submit(message(QUEUES[1], b"after"))
    writer = BareWriter(ground)
    while writer.turn() != commit.IDLE:
        continue
    first, second = ground.completions()
    assert (first.tag, second.tag, second.status) == (tag, after, STORED)
    assert first.status in (STORED, ILLEGAL)
    assert first.count == (count if first.status == STORED else 0)
    stored = ground.stored()
    assert len(stored) == first.count + 1
    assert bytes(stored[-1].body) == b"after"
    assert second.position == stored[-1].position
    assert not any(ground.bytes_behind())
