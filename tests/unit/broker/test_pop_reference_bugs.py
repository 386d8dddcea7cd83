"""What RocketMQ's pop consumption has lost, doubled or got stuck on, by the numbers of its issues."""

import random

import pytest

from shmq.broker.outcome import PutStatus
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.topic_bodies import TopicConfig
from tests.support.pop_ground import PopGround, request
from tests.support.popping import ack, change_invisible, pop

MANY = 64


@pytest.fixture
def ground(tmp_path):
    return PopGround(tmp_path)


def bodies(messages):
    return sorted(message.body for message in messages)


def pop_all(ground, **given):
    popped = []
    while new := pop(ground, "T", "G", bornTime=ground.now_ms, **given):
        popped += new
    return popped


def test_7914_every_message_that_was_not_acknowledged_comes_again(ground):
    """Messages stored before or after their pop, and before or after others were revived, were taken for old ones."""
    chance = random.Random(7914)
    sent, consumed = set(), set()
    for turn in range(12):
        fresh = [b"%d-%d" % (turn, number) for number in range(chance.randrange(1, 20))]
        sent.update(fresh)
        ground.send(*fresh, queue_id=turn % 2)
        ground.now_ms += chance.randrange(1, 400)
        for message in pop(ground, "T", "G", invisibleTime=500, bornTime=ground.now_ms, maxMsgNums=8):
            if chance.random() < 0.5:
                assert ack(ground, "G", message).code == ResponseCode.SUCCESS
                consumed.add(message.body)
        ground.revive()
    while ground.flights or len(consumed) < len(sent):
        ground.now_ms += 1000
        ground.revive()
        for message in pop_all(ground, invisibleTime=500):
            ack(ground, "G", message)
            consumed.add(message.body)
    assert consumed == sent


def test_7724_another_message_is_never_revived_in_the_place_of_one_that_is_gone(ground):
    """The reference read the first message at or after the offset: the next one came twice, though acknowledged."""
    ground.send(b"gone", b"there", b"acked")
    gone, there, acked = pop(ground, "T", "G", invisibleTime=10, bornTime=ground.now_ms)
    ack(ground, "G", acked)
    slot = ground.state.topics.slots("T")[0]
    ground.tables.queues.min[slot] = gone.offset + 1  # retention went past it
    ground.now_ms += 11
    assert ground.revive() == 2
    assert bodies(pop_all(ground)) == [b"there"]
    assert there.offset == 1


def test_8479_flights_of_a_topic_that_was_deleted_and_made_anew_neither_stick_nor_revive_others(ground):
    ground.send(b"old-1", b"old-2", b"old-3")
    assert len(pop(ground, "T", "G", invisibleTime=10, bornTime=ground.now_ms)) == 3
    assert ground.handle(request(RequestCode.DELETE_TOPIC_IN_BROKER, topic="T")).code == ResponseCode.SUCCESS
    ground.state.topics.put(TopicConfig("T", 2, 2), ground.now_ms)
    ground.publish()
    assert ground.flights == []
    ground.send(b"new")
    ground.now_ms += 11
    assert ground.revive() == 0
    assert bodies(pop_all(ground)) == [b"new"]


def test_8479_not_even_if_the_conductor_died_before_it_forgot_them(ground):
    ground.send(b"old-1", b"old-2", b"old-3")
    assert len(pop(ground, "T", "G", invisibleTime=10, bornTime=ground.now_ms)) == 3
    ground.state.topics.delete("T", ground.now_ms)
    ground.state.topics.put(TopicConfig("T", 2, 2), ground.now_ms)
    ground.publish()
    ground.send(b"new")
    ground.now_ms += 11
    assert ground.revive() == 3
    assert ground.flights == []
    assert bodies(pop_all(ground)) == [b"new"]


def test_7412_what_could_not_be_written_anew_is_found_again_and_written(ground):
    """A check-point that was put once more named no broker, and its message was never found."""
    ground.send(b"m")
    (first,) = pop(ground, "T", "G", invisibleTime=10, bornTime=ground.now_ms)
    for _ in range(3):
        ground.now_ms += 2000
        assert ground.revive(PutStatus.SERVICE_NOT_AVAILABLE) == 1
        assert len(ground.flights) == 1
    ground.now_ms += 2000
    assert ground.revive() == 1
    (again,) = pop_all(ground)
    assert (again.body, again.message.reconsume_times) == (b"m", 1)
    assert ack(ground, "G", first).code == ResponseCode.SUCCESS  # of the dead delivery
    assert len(ground.flights) == 1
    ack(ground, "G", again)
    assert ground.flights == []


def test_9956_many_changes_at_one_moment_are_many_rows_and_no_scan(ground):
    """Each change was a check-point and an acknowledgement more to be matched; enough of them stopped the revival."""
    ground.send(*(b"%d" % number for number in range(MANY)))
    held = pop_all(ground, invisibleTime=10_000)
    for _ in range(20):
        ground.now_ms += 1
        for message in held:
            assert change_invisible(ground, "G", message, 5000).code == ResponseCode.SUCCESS
        held = [renew(message, ground.now_ms, 5000) for message in held]
        assert len(ground.flights) == MANY
    ground.now_ms += 5000
    assert ground.revive() == MANY
    assert bodies(pop_all(ground)) == bodies(held)


def test_10276_a_change_that_ends_when_the_pop_would_have_ended_loses_nothing(ground):
    """Both deliveries had one key, and so the acknowledgement of the first took the second with it."""
    ground.send(b"m")
    (message,) = pop(ground, "T", "G", invisibleTime=60_000, bornTime=ground.now_ms)
    ground.now_ms += 20_000
    assert change_invisible(ground, "G", message, 40_000).code == ResponseCode.SUCCESS
    assert len(ground.flights) == 1
    ack(ground, "G", message)  # with the receipt that is dead
    ground.now_ms += 40_000
    assert ground.revive() == 1
    assert bodies(pop_all(ground)) == [b"m"]


def renew(message, pop_ms, invisible_ms):
    """A message with the receipt that a change answered."""
    start, _, _, *rest = message.receipt.split(" ")
    receipt = " ".join((start, str(pop_ms), str(invisible_ms), *rest))
    return type(message)(message.message, message.topic, message.queue_id, message.offset, receipt)
