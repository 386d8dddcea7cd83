"""Pop, acknowledge, change, wait: what clients see of it."""

import pytest

from shmq.broker.outcome import Ask, Park
from shmq.broker.pop.desk import PopDesk
from shmq.broker.pop.popping import handle_pop
from shmq.store import properties as property_text
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.pop_ground import PopGround, request
from tests.support.popping import ack, batch_ack, change_invisible, pop, pop_request, popped
from tests.support.small_metadata import PEER

RETRY = "%RETRY%G_T"


@pytest.fixture
def ground(tmp_path):
    return PopGround(tmp_path)


def take(ground, **given):
    return pop(ground, "T", "G", bornTime=ground.now_ms, **given)


def bodies(messages):
    return [message.body for message in messages]


def refusal(ground, **given):
    answer = ground.handle(
        pop_request(given.pop("topic", "T"), given.pop("group", "G"), bornTime=ground.now_ms, **given)
    )
    return answer.code


def test_messages_of_all_queues_are_given_once(ground):
    ground.send(b"a", b"b")
    ground.send(b"c", queue_id=1)
    assert sorted(bodies(take(ground))) == [b"a", b"b", b"c"]
    assert take(ground) == []


def test_a_pop_of_one_queue_gets_no_other(ground):
    ground.send(b"a")
    ground.send(b"b", queue_id=1)
    assert bodies(take(ground, queueId=1)) == [b"b"]


def test_no_more_is_given_than_was_asked_for_and_the_rest_is_told(ground):
    ground.send(b"a", b"b", b"c")
    answer = ground.handle(pop_request("T", "G", bornTime=ground.now_ms, maxMsgNums=2))
    assert bodies(popped(answer, "T", "G")) == [b"a", b"b"]
    assert answer.fields["restNum"] == "1"
    assert answer.fields["msgOffsetInfo"] == "0 0 0,1"
    assert answer.fields["startOffsetInfo"] == "0 0 0"


def test_the_committed_offset_is_what_was_given_out(ground):
    ground.send(b"a", b"b", b"c")
    take(ground, maxMsgNums=2)
    assert ground.state.offsets.query("G", "T", 0) == 2


def test_what_the_filter_leaves_out_is_passed_over(ground):
    ground.send(b"a", tag="A")
    ground.send(b"b", tag="B")
    ground.send(b"c", tag="A")
    ground.send(b"d", tag="B")
    first = take(ground, exp="A", expType="TAG", maxMsgNums=1)
    second = take(ground, exp="A", expType="TAG")
    assert (bodies(first), bodies(second)) == ([b"a"], [b"c"])
    assert take(ground, exp="A", expType="TAG") == []
    assert ground.state.offsets.query("G", "T", 0) == 4
    assert [flight.offset for flight in ground.flights] == [0, 2]


def test_messages_are_selected_by_their_properties(ground):
    for body, value in ((b"a", "1"), (b"b", "7")):
        ground.append("T", body=body, properties=property_text.join({"size": value}))
    assert bodies(take(ground, exp="size > 5", expType="SQL92")) == [b"b"]


def test_an_acknowledged_message_is_over(ground):
    ground.send(b"a")
    (message,) = take(ground, invisibleTime=10)
    assert ack(ground, "G", message).code == ResponseCode.SUCCESS
    ground.now_ms += 11
    assert ground.revive() == 0
    assert take(ground) == []


def test_messages_are_acknowledged_together(ground):
    ground.send(b"a", b"b", b"c")
    ground.send(b"d", queue_id=1)
    messages = take(ground)
    kept = next(message for message in messages if message.body == b"b")
    others = [message for message in messages if message is not kept]
    assert batch_ack(ground, "T", "G", others).code == ResponseCode.SUCCESS
    assert [flight.offset for flight in ground.flights] == [kept.offset]


def test_an_empty_batch_is_told_so(ground):
    assert ground.handle(Command(RequestCode.BATCH_ACK_MESSAGE)).code == ResponseCode.NO_MESSAGE


def test_what_is_not_acknowledged_comes_again_under_its_own_topic(ground):
    ground.append("T", body=b"a", properties=property_text.join({"TAGS": "A", "KEYS": "k"}))
    (first,) = take(ground, invisibleTime=10, exp="A", expType="TAG")
    ground.now_ms += 10
    ground.revive()
    (again,) = take(ground, invisibleTime=20, exp="A", expType="TAG")
    assert (again.body, again.topic, again.message.topic) == (b"a", RETRY, "T")
    assert again.message.reconsume_times == 1
    assert again.message.properties["1ST_POP_TIME"] == first.receipt.split(" ")[1]
    assert again.message.properties["TAGS"] == "A"
    assert again.receipt == f"0 {ground.now_ms} 20 0 1 b 0 0"
    assert ack(ground, "G", again).code == ResponseCode.SUCCESS
    assert ground.flights == []


def test_a_message_that_is_tried_again_comes_with_its_retry_topic_where_that_is_set(tmp_path):
    ground = PopGround(tmp_path, pop_actual_retry_topic_enable=True)
    ground.send(b"a")
    take(ground, invisibleTime=10)
    ground.now_ms += 10
    ground.revive()
    (again,) = take(ground)
    assert again.message.topic == RETRY


def test_the_second_form_of_retry_topics(tmp_path):
    ground = PopGround(tmp_path, pop_retry_topic_v2_enable=True)
    ground.send(b"a")
    take(ground, invisibleTime=10)
    ground.now_ms += 10
    ground.revive()
    messages = []
    while not messages:  # each other pop looks into the first form
        messages = take(ground)
    assert messages[0].topic == "%RETRY%G+T"


def test_a_message_that_comes_too_often_is_a_dead_letter(ground):
    ground.send(b"a")
    seen = []
    for _ in range(5):
        seen += [message.message.reconsume_times for message in take(ground, invisibleTime=10)]
        ground.now_ms += 10
        ground.revive()
    assert seen == [0, 1, 2, 3]
    (dead,) = ground.stored("%DLQ%G")
    properties = property_text.parse(dead.properties)
    assert (bytes(dead.body), properties["DLQ_ORIGIN_TOPIC"], properties["RETRY_TOPIC"]) == (b"a", "T", "T")
    assert ground.flights == []


def test_without_dead_letters_a_message_comes_for_ever(tmp_path):
    ground = PopGround(tmp_path, pop_dead_letter_enable=False)
    ground.send(b"a")
    for times in range(6):
        (message,) = take(ground, invisibleTime=10)
        assert message.message.reconsume_times == times
        ground.now_ms += 10
        ground.revive()


def test_the_receipt_before_a_change_is_dead(ground):
    ground.send(b"a")
    (message,) = take(ground, invisibleTime=10)
    ground.now_ms += 5
    answer = change_invisible(ground, "G", message, 100)
    assert answer.fields == {"popTime": str(ground.now_ms), "invisibleTime": "100", "reviveQid": "0"}
    ack(ground, "G", message)
    ground.now_ms += 99
    assert ground.revive() == 0
    ground.now_ms += 1
    assert ground.revive() == 1


def test_a_message_that_is_over_cannot_be_hidden_again(ground):
    ground.send(b"a")
    (message,) = take(ground)
    ack(ground, "G", message)
    assert change_invisible(ground, "G", message, 100).code == ResponseCode.NO_MESSAGE
    assert ground.flights == []


def test_a_change_that_was_carried_out_twice_is_one(ground):
    ground.send(b"a")
    (message,) = take(ground)
    for _ in range(2):
        assert change_invisible(ground, "G", message, 100).code == ResponseCode.SUCCESS


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"topic": "none"}, ResponseCode.TOPIC_NOT_EXIST),
        ({"queueId": 2}, ResponseCode.INVALID_PARAMETER),
        ({"maxMsgNums": 33}, ResponseCode.INVALID_PARAMETER),
        ({"exp": "||", "expType": "TAG"}, ResponseCode.SUBSCRIPTION_PARSE_FAILED),
        ({"exp": "a > > 1", "expType": "SQL92"}, ResponseCode.SUBSCRIPTION_PARSE_FAILED),
        ({"exp": "a", "expType": "WASM"}, ResponseCode.SUBSCRIPTION_PARSE_FAILED),
        ({"bornTime": 1}, ResponseCode.POLLING_TIMEOUT),
    ],
)
def test_refusals(ground, given, code):
    born = {"bornTime": given.pop("bornTime")} if "bornTime" in given else {}
    fields = {"bornTime": ground.now_ms} | born
    answer = ground.handle(pop_request(given.pop("topic", "T"), "G", **(given | fields)))
    assert answer.code == code


def test_a_topic_or_group_that_may_not_be_read(ground):
    ground.state.topics.put(TopicConfig("W", 1, 1, permission=2), ground.now_ms)
    ground.state.groups.alter(SubscriptionGroupConfig("H", consume_enable=False), ground.now_ms)
    ground.publish()
    assert refusal(ground, topic="W") == ResponseCode.NO_PERMISSION
    assert refusal(ground, group="H") == ResponseCode.NO_PERMISSION


def test_a_group_is_made_for_its_first_pop(ground):
    ground.send(b"a")
    assert bodies(pop(ground, "T", "new", bornTime=ground.now_ms)) == [b"a"]


@pytest.mark.parametrize(
    ("queue_id", "offset", "code"),
    [(2, 0, ResponseCode.MESSAGE_ILLEGAL), (0, 2, ResponseCode.NO_MESSAGE), (0, -1, ResponseCode.NO_MESSAGE)],
)
def test_what_cannot_have_been_popped_cannot_be_acknowledged(ground, queue_id, offset, code):
    ground.send(b"a")
    (message,) = take(ground)
    other = type(message)(message.message, "T", queue_id, offset, message.receipt)
    assert ack(ground, "G", other).code == code


def test_a_broken_receipt_is_refused(ground):
    ground.send(b"a")
    (message,) = take(ground)
    for receipt in ("", "0 1 2", "0 x 60000 0 0 b 0 0"):
        broken = type(message)(message.message, "T", 0, 0, receipt)
        assert ack(ground, "G", broken).code == ResponseCode.INVALID_PARAMETER


def test_a_new_group_that_wants_new_messages_gets_all_of_a_young_topic(ground):
    ground.send(b"a", b"b")
    assert bodies(take(ground, initMode=1)) == [b"a", b"b"]


def test_or_the_last_one_where_that_is_not_wanted(tmp_path):
    ground = PopGround(tmp_path, pop_young_topic_enable=False)
    ground.send(b"a", b"b")
    assert bodies(take(ground, initMode=1)) == [b"b"]


def test_a_group_begins_where_it_first_looked(tmp_path):
    ground = PopGround(tmp_path, pop_young_topic_enable=False)
    assert take(ground, initMode=1) == []
    ground.send(b"a", b"b")
    assert bodies(take(ground, initMode=1)) == [b"a", b"b"]


def test_an_offset_that_somebody_commits_is_where_the_queue_goes_on(ground):
    ground.send(b"a", b"b", b"c")
    take(ground, maxMsgNums=2)
    slot = ground.state.topics.slots("T")[0]
    ground.state.offsets.commit("G", slot, 1)
    assert bodies(take(ground)) == [b"b", b"c"]
    assert [flight.offset for flight in ground.flights] == [0, 1, 2]
    ground.send(b"d", b"e")
    ground.state.offsets.commit("G", slot, 4)
    assert bodies(take(ground)) == [b"e"]


def test_an_offset_beyond_the_end_is_put_right(ground):
    ground.send(b"a")
    ground.state.offsets.commit("G", ground.state.topics.slots("T")[0], 77)
    assert take(ground) == []
    ground.send(b"b")
    assert bodies(take(ground)) == [b"b"]


def test_no_more_than_so_many_are_out(tmp_path):
    ground = PopGround(tmp_path, pop_in_flight_limit_enable=True, pop_in_flight_max=2)
    ground.send(b"a", b"b", b"c")
    held = take(ground, queueId=0, maxMsgNums=2)
    assert take(ground, queueId=0) == []
    ack(ground, "G", held[0])
    assert bodies(take(ground, queueId=0)) == [b"c"]


# Waiting.


def waiting(ground, **given):
    command = pop_request("T", "G", **({"bornTime": ground.now_ms, "pollTime": 10_000} | given))
    assert ground.handle(command) is None
    return command


def test_a_pop_waits_for_each_of_its_queues(ground):
    command = waiting(ground)
    park = ground.parked
    slots = ground.state.topics.slots("T")
    assert sorted([(park.slot, park.past_offset), *park.also]) == [(slot, 0) for slot in slots]
    assert park.deadline_ms == ground.now_ms + 10_000 - 50
    assert (park.key, park.news) == ("T@G@-1", (f"topic {RETRY}",))
    ground.send(b"a", queue_id=1)
    assert bodies(popped(ground.wake(command), "T", "G")) == [b"a"]


def test_it_waits_for_its_retry_topic_too_once_there_is_one(ground):
    ground.send(b"a")
    take(ground, invisibleTime=10)
    command = waiting(ground)
    ground.now_ms += 10
    ground.revive()
    answer = ground.wake(command)
    assert bodies(popped(answer, "T", "G")) == [b"a"]
    waiting(ground)
    assert len(ground.parked.also) == 2
    assert ground.parked.news == ()


def test_at_the_last_moment_it_is_told_that_there_is_nothing(ground):
    command = waiting(ground)
    ground.now_ms += 9950
    answer = ground.wake(command, is_last=True)
    assert answer.code == ResponseCode.POLLING_TIMEOUT
    assert {"popTime", "invisibleTime", "reviveQid", "restNum"} <= set(answer.fields)


@pytest.mark.parametrize("setting", ["pop_held_per_queue_max", "pop_held_max"])
def test_where_too_many_wait_another_may_not(tmp_path, setting):
    ground = PopGround(tmp_path, **{setting: 1})
    ground.replica.pops.count_held = lambda _key: 1
    answer = ground.handle(pop_request("T", "G", bornTime=ground.now_ms, pollTime=1000))
    assert answer.code == ResponseCode.POLLING_FULL


# Several at once.


def test_two_pops_of_one_worker_do_not_ask_for_the_same(ground):
    ground.send(b"a", b"b", b"c")
    first, second = begin(ground, maxMsgNums=2), begin(ground, maxMsgNums=2)
    answers = [ground.finish(*first), ground.finish(*second)]
    assert [bodies(popped(answer, "T", "G")) for answer in answers] == [[b"a", b"b"], [b"c"]]


def test_who_was_slower_than_another_worker_looks_again(ground):
    ground.send(b"a", b"b")
    mine = begin(ground, maxMsgNums=1)
    elsewhere = begin_elsewhere(ground, maxMsgNums=1)
    assert bodies(popped(ground.finish(*elsewhere), "T", "G")) == [b"a"]
    assert bodies(popped(ground.finish(*mine), "T", "G")) == [b"b"]


def test_what_was_granted_by_a_conductor_that_died_is_granted_again(ground):
    ground.send(b"a", b"b")
    command, ask = begin(ground)
    first = ground.answer(ask.question)
    ground.restart()
    again = ground.answer(ask.question)
    assert first == again
    answer = ground.finish(command, ask.then(again))
    assert bodies(popped(answer, "T", "G")) == [b"a", b"b"]
    assert len(ground.flights) == 2


def begin(ground, **given):
    command = pop_request("T", "G", bornTime=ground.now_ms, queueId=0, **given)
    outcome = handle_pop(ground.replica, command, PEER, ground.now_ms)
    assert isinstance(outcome, Ask)
    return command, outcome


def begin_elsewhere(ground, **given):
    """As in a worker that knows nothing of what this one asked for."""
    mine, ground.replica.pops = ground.replica.pops, PopDesk()
    try:
        return begin(ground, **given)
    finally:
        ground.replica.pops = mine


def test_what_comes_while_the_conductor_is_asked_is_not_waited_for(ground):
    """The first pop of a queue has its cursor kept; the queue may have grown before it waits."""
    command = pop_request("T", "G", bornTime=ground.now_ms, queueId=0, pollTime=5000)
    outcome = handle_pop(ground.replica, command, PEER, ground.now_ms)
    ground.send(b"a")
    assert bodies(popped(ground.finish(command, outcome), "T", "G")) == [b"a"]


def test_much_that_nobody_wants_is_passed_over_in_one_pop(ground):
    for number in range(200):
        ground.send(b"%d" % number, tag="A" if number == 199 else "B")
    assert bodies(take(ground, exp="A", expType="TAG", queueId=0)) == [b"199"]


# Notification and polling info.


def notification(ground, **given):
    fields = {
        "consumerGroup": "G", "topic": "T", "queueId": -1, "pollTime": 0, "bornTime": ground.now_ms,
    } | given  # fmt: skip
    return request(RequestCode.NOTIFICATION, **fields)


def test_a_notification_says_whether_there_is_something(ground):
    assert ground.handle(notification(ground)).fields["hasMsg"] == "false"
    ground.send(b"a")
    assert ground.handle(notification(ground)).fields["hasMsg"] == "true"
    take(ground, invisibleTime=10)
    assert ground.handle(notification(ground)).fields["hasMsg"] == "false"
    ground.now_ms += 10
    ground.revive()
    assert ground.handle(notification(ground)).fields["hasMsg"] == "true"


def test_a_notification_waits(ground):
    command = notification(ground, pollTime=1000)
    assert ground.handle(command) is None
    assert isinstance(ground.parked, Park)
    ground.send(b"a", queue_id=1)
    assert ground.wake(command).fields["hasMsg"] == "true"


def test_a_notification_ends_with_nothing(ground):
    command = notification(ground, pollTime=1000)
    assert ground.handle(command) is None
    assert ground.wake(command, is_last=True).fields == {"hasMsg": "false", "pollingFull": "false"}


def test_polling_info_counts_who_waits(ground):
    counts = {"T@G@-1": 3, "T@G@1": 2}
    ground.replica.pops.count_held = lambda key: counts.get(key, 0)
    for queue_id, count in ((-1, 3), (1, 2), (0, 0)):
        fields = {"consumerGroup": "G", "topic": "T", "queueId": queue_id}
        assert ground.handle(request(RequestCode.POLLING_INFO, **fields)).fields == {"pollingNum": str(count)}
