"""Pop in order: a queue is blocked until what was popped of it is acknowledged, or visible again."""

import pytest

from shmq.broker.pop.desk import freed_news
from shmq.broker.pop.orders import Order, follow
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.pop_ground import PopGround, request
from tests.support.popping import ack, batch_ack, change_invisible, pop, pop_request, popped


@pytest.fixture
def ground(tmp_path):
    made = PopGround(tmp_path)
    made.send(b"a", b"b", b"c")
    return made


def take(ground, **given):
    fields = {"bornTime": ground.now_ms, "order": "true", "queueId": 0, "maxMsgNums": 2, "invisibleTime": 100}
    return pop(ground, "T", "G", **(fields | given))


def bodies(messages):
    return [message.body for message in messages]


def committed(ground):
    return ground.state.offsets.query("G", "T", 0)


def test_a_queue_is_blocked_until_all_of_its_last_pop_is_acknowledged(ground):
    first, second = take(ground)
    assert first.receipt.split(" ")[3] == "999"
    assert take(ground) == []
    ack(ground, "G", first)
    assert take(ground) == []
    ack(ground, "G", second)
    assert bodies(take(ground)) == [b"c"]


def test_the_committed_offset_is_the_first_that_is_not_acknowledged(ground):
    first, second = take(ground)
    assert committed(ground) == 0
    ack(ground, "G", second)
    assert committed(ground) == 0
    ack(ground, "G", first)
    assert committed(ground) == 2


def test_a_queue_is_free_when_its_messages_are_visible_again_and_they_come_first(ground):
    take(ground)
    ground.now_ms += 99
    assert take(ground) == []
    ground.now_ms += 1
    again = take(ground, maxMsgNums=3)
    assert bodies(again) == [b"a", b"b", b"c"]
    assert [message.count for message in again] == [1, 1, 0]
    assert ground.flights == []  # nothing of it is tried again from a retry topic


def test_counts_grow_with_each_pop(ground):
    for count in range(4):
        assert [message.count for message in take(ground)] == [count, count]
        ground.now_ms += 100


def test_the_attempt_that_popped_is_not_blocked_and_counts_nothing(ground):
    take(ground, attemptId="x")
    again = take(ground, attemptId="x")
    assert bodies(again) == [b"a", b"b"]
    assert [message.count for message in again] == [0, 0]
    assert take(ground, attemptId="y") == []


def test_an_acknowledgement_of_an_earlier_pop_changes_nothing(ground):
    old, _ = take(ground)
    ground.now_ms += 100
    take(ground)
    assert ack(ground, "G", old).code == ResponseCode.SUCCESS
    assert committed(ground) == 0
    assert take(ground) == []


def test_an_acknowledgement_of_what_was_not_popped_is_refused(ground):
    first, _ = take(ground)
    other = type(first)(first.message, "T", 0, 2, first.receipt)
    assert ack(ground, "G", other).code == ResponseCode.MESSAGE_ILLEGAL


def test_an_acknowledgement_after_a_reset_moves_nothing(ground):
    first, second = take(ground)
    ack(ground, "G", first)
    ack(ground, "G", second)
    slot = ground.state.topics.slots("T")[0]
    ground.state.offsets.commit("G", slot, 0)
    ground.now_ms += 1
    (again, *_) = take(ground)
    ack(ground, "G", second)
    assert committed(ground) == 0
    ack(ground, "G", again)
    assert committed(ground) == 1


def test_a_batch_is_acknowledged_in_order_too(ground):
    assert batch_ack(ground, "T", "G", take(ground)).code == ResponseCode.SUCCESS
    assert committed(ground) == 2


def test_a_message_that_is_hidden_for_another_time_blocks_for_that_time(ground):
    first, second = take(ground)
    ack(ground, "G", first)
    answer = change_invisible(ground, "G", second, 500)
    assert answer.fields["invisibleTime"] == "500"
    ground.now_ms += 400
    assert take(ground) == []
    change_invisible(ground, "G", second, 50)
    ground.now_ms += 50
    assert bodies(take(ground)) == [b"b", b"c"]


def test_what_nobody_wants_is_passed_over(ground):
    assert take(ground, exp="X", expType="TAG") == []
    assert committed(ground) == 3


def test_who_waits_for_a_blocked_queue_hears_when_it_is_free(ground):
    first, second = take(ground)
    command = pop_request("T", "G", bornTime=ground.now_ms, order="true", queueId=0, pollTime=5000)
    assert ground.handle(command) is None
    park = ground.parked
    assert park.slot == -1
    assert (park.look_ms, park.news) == (ground.now_ms + 100, (freed_news("G", "T"),))
    ack(ground, "G", first)
    told = []
    ground.replica.apply = told.append
    ack(ground, "G", second)
    assert [(update.group, update.topic) for update in told] == [("G", "T")]
    assert bodies(popped(ground.finish(command, park.again(ground.now_ms, False)), "T", "G")) == [b"c"]


def test_a_notification_knows_of_blocked_queues(ground):
    fields = {"consumerGroup": "G", "topic": "T", "queueId": 0, "pollTime": 0, "bornTime": ground.now_ms}
    command = request(RequestCode.NOTIFICATION, **fields, order="true", attemptId="y")
    assert ground.handle(command).fields["hasMsg"] == "true"
    take(ground, attemptId="x")
    assert ground.handle(command).fields["hasMsg"] == "false"
    own = request(RequestCode.NOTIFICATION, **fields, order="true", attemptId="x")
    assert ground.handle(own).fields["hasMsg"] == "true"


def test_orders_survive_the_conductor(ground):
    first, second = take(ground)
    ack(ground, "G", second)
    ground.restart()
    assert take(ground) == []
    ack(ground, "G", first)
    assert committed(ground) == 2


def test_an_order_is_kept_as_bytes():
    order = Order(5, 100, "x", 7, (1, 2, 4), frozenset({2}), ((4, 300),), ((1, 2),))
    assert Order.from_bytes(order.to_bytes()) == order


def test_a_first_pop_follows_nothing():
    order = Order(5, 100, "", 7, (1,))
    assert follow(None, order) is order
    assert order.next_offset == 1
    assert order.acknowledge(1).next_offset == 2
