"""Pull: checks, statuses, waiting."""

from dataclasses import replace

import pytest

from shmq.broker.outcome import Park, Reply
from shmq.broker.pulling import handle_pull
from shmq.broker.updates import FilterUpdate, GroupUpdate
from shmq.errors import RequestError
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.heartbeat_bodies import MessageModel, SubscriptionData
from shmq.wire.message import decode_messages
from shmq.wire.topic_bodies import SubscriptionGroupConfig
from tests.support.small_broker import NOW_MS, SmallBroker, answered, replied

SUBSCRIPTION, SUSPEND, COMMIT = 4, 2, 1
QUEUE_FILE_ENTRIES = 10


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_topic("T", topic_sys_flag=2)
    made.add_group("G", group_sys_flag=1)
    made.subscribe("G", SubscriptionData("T", version=5))
    return made


def pull(broker, offset=0, code=RequestCode.PULL_MESSAGE, **changes):
    fields = {
        "consumerGroup": "G", "topic": "T", "queueId": 0, "queueOffset": offset, "maxMsgNums": 32, "sysFlag": 0,
        "commitOffset": 0, "suspendTimeoutMillis": 15000, "subVersion": 5,
    }  # fmt: skip
    return broker.call(handle_pull, code, fields | changes)


def refusal(broker, **changes):
    with pytest.raises(RequestError) as caught:
        pull(broker, **changes)
    return caught.value.code, caught.value.fields.get("forbiddenType")


def bounds(outcome):
    """Code, remark, next, min and max offset of an answer without messages."""
    command = replied(outcome)
    assert outcome.pieces == ()
    names = ("nextBeginOffset", "minOffset", "maxOffset")
    return int(command.code), command.remark, *(int(command.fields[name]) for name in names)


def bodies(outcome):
    assert isinstance(outcome, Reply)
    return [message.body for message in decode_messages(b"".join(outcome.pieces))]


def fill(broker, *tags):
    for number, tag in enumerate(tags):
        broker.append("T", tag=tag, body=f"{tag}{number}".encode())


def again(outcome, *, is_last=False):
    assert isinstance(outcome, Park)
    return outcome.again(NOW_MS + 1, is_last)


@pytest.mark.parametrize("code", [RequestCode.PULL_MESSAGE, RequestCode.LITE_PULL_MESSAGE])
def test_messages_are_answered_as_they_are_stored(broker, code):
    fill(broker, "a", "b", "c")
    outcome = pull(broker, 1, code)
    assert bodies(outcome) == [b"b1", b"c2"]
    command = replied(outcome)
    assert (command.code, command.remark) == (ResponseCode.SUCCESS, "FOUND")
    assert command.fields == {
        "suggestWhichBrokerId": "0", "nextBeginOffset": "3", "minOffset": "0", "maxOffset": "3",
        "topicSysFlag": "2", "groupSysFlag": "1",
    }  # fmt: skip


@pytest.mark.parametrize(("wanted", "given"), [(2, 2), (1, 1), (0, 1), (-5, 1)])
def test_a_pull_gets_as_many_as_it_wants_and_one_at_least(broker, wanted, given):
    fill(broker, "a", "a", "a")
    assert len(bodies(pull(broker, maxMsgNums=wanted))) == given


def test_the_settings_bound_an_answer(tmp_path):
    broker = SmallBroker(tmp_path, transfer_count_in_memory_max=2)
    broker.add_topic("T")
    broker.add_group("G")
    broker.subscribe("G", SubscriptionData("T", version=5))
    fill(broker, "a", "a", "a")
    assert len(bodies(pull(broker))) == 2


def test_an_empty_queue_has_nothing_at_its_beginning(broker):
    assert bounds(pull(broker)) == (ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)


def test_an_empty_queue_moves_a_pull_back_to_its_beginning(broker):
    assert bounds(pull(broker, 5)) == (ResponseCode.PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)


def test_a_pull_beyond_the_end_is_moved_back(broker):
    fill(broker, "a", "a")
    assert bounds(pull(broker, 2)) == (ResponseCode.PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 2, 0, 2)
    assert bounds(pull(broker, 3)) == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 2, 0, 2)


def test_a_pull_before_the_beginning_is_moved_forward(broker):
    fill(broker, "a", "a")
    broker.store.queues.min[broker.store.slot(b"T")] = 1
    assert bounds(pull(broker, 0)) == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 1, 1, 2)
    assert bounds(pull(broker, -1))[:3] == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 1)


def test_what_does_not_match_is_stepped_over(broker):
    fill(broker, "a", "b", "a", "b")
    outcome = pull(broker, 0, sysFlag=SUBSCRIPTION, subscription="b||c")
    assert bodies(outcome) == [b"b1", b"b3"]
    assert replied(outcome).fields["nextBeginOffset"] == "4"
    nothing = pull(broker, 0, sysFlag=SUBSCRIPTION | SUSPEND, subscription="c")
    assert bounds(nothing) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 4, 0, 4)


def test_a_queue_file_that_is_missing_is_stepped_over_at_once(broker):
    fill(broker, *"a" * (QUEUE_FILE_ENTRIES + 2))
    (broker.store.consumequeue / "T" / "0" / f"{0:020d}").unlink()
    outcome = pull(broker, 3, sysFlag=SUSPEND)
    assert bounds(outcome)[:3] == (ResponseCode.PULL_NOT_FOUND, "OFFSET_FOUND_NULL", QUEUE_FILE_ENTRIES)


class TestRefusals:
    """What is checked before a queue is read."""

    def test_a_broker_may_be_closed_to_readers(self, tmp_path):
        broker = SmallBroker(tmp_path, broker_permission=2)
        assert refusal(broker) == (ResponseCode.NO_PERMISSION, "1")

    def test_a_group_may_be_closed(self, broker):
        broker.add_group("G", consume_enable=False)
        assert refusal(broker) == (ResponseCode.NO_PERMISSION, "2")

    def test_an_unknown_topic_does_not_exist(self, broker):
        assert refusal(broker, topic="X")[0] == ResponseCode.TOPIC_NOT_EXIST

    def test_a_topic_may_be_closed_to_readers(self, broker):
        broker.add_topic("T", permission=2)
        assert refusal(broker) == (ResponseCode.NO_PERMISSION, "3")

    @pytest.mark.parametrize("queue_id", [-1, 4])
    def test_only_queues_that_may_be_read_are(self, broker, queue_id):
        assert refusal(broker, queueId=queue_id)[0] == ResponseCode.INVALID_PARAMETER

    def test_a_queue_that_can_only_be_written_is_not_read(self, broker):
        broker.add_topic("T", read_queue_count=2)
        assert refusal(broker, queueId=2)[0] == ResponseCode.INVALID_PARAMETER

    def test_a_group_that_is_not_online_has_no_subscription(self, broker):
        broker.add_group("H")
        assert refusal(broker, consumerGroup="H")[0] == ResponseCode.SUBSCRIPTION_NOT_EXIST

    def test_a_topic_may_not_be_subscribed(self, broker):
        broker.subscribe("G", SubscriptionData("U"))
        assert refusal(broker)[0] == ResponseCode.SUBSCRIPTION_NOT_EXIST

    def test_broadcasting_may_be_forbidden(self, broker):
        broker.subscribe("G", SubscriptionData("T", version=5), model=MessageModel.BROADCASTING)
        assert replied(pull(broker)).code == ResponseCode.PULL_NOT_FOUND
        broker.add_group("G", consume_broadcast_enable=False)
        assert refusal(broker) == (ResponseCode.NO_PERMISSION, "4")

    def test_a_topic_may_be_forbidden_to_a_group(self, broker):
        forbidden = GroupUpdate("G", 0, SubscriptionGroupConfig("G"), ("T",))
        broker.replica.apply(forbidden)
        assert refusal(broker) == (ResponseCode.NO_PERMISSION, "5")
        broker.replica.apply(replace(forbidden, forbidden=("U",)))
        assert replied(pull(broker)).code == ResponseCode.PULL_NOT_FOUND

    def test_an_older_subscription_is_not_the_latest(self, broker):
        assert refusal(broker, subVersion=6)[0] == ResponseCode.SUBSCRIPTION_NOT_LATEST
        assert replied(pull(broker, subVersion=4)).code == ResponseCode.PULL_NOT_FOUND

    def test_sql_is_not_enabled(self, broker):
        fields = {"sysFlag": SUBSCRIPTION, "expressionType": "SQL92", "subscription": "a > 5"}
        assert refusal(broker, **fields)[0] == ResponseCode.SYSTEM_ERROR
        broker.subscribe("G", SubscriptionData("T", "a > 5", version=5, expression_type="SQL92"))
        broker.replica.apply(FilterUpdate("T", "G", "a > 5", 5))
        with pytest.raises(RequestError, match="does not support consumer to filter message by SQL92"):
            pull(broker)

    @pytest.mark.parametrize(
        "fields",
        [
            {"subscription": "||"},
            {"expressionType": "SQL92"},
            {"expressionType": "XPATH", "subscription": "a"},
        ],
    )
    def test_an_expression_may_be_unreadable(self, broker, fields):
        assert refusal(broker, sysFlag=SUBSCRIPTION, **fields)[0] == ResponseCode.SUBSCRIPTION_PARSE_FAILED

    def test_a_missing_field_is_refused(self, broker):
        assert refusal(broker, suspendTimeoutMillis=None)[0] == ResponseCode.INVALID_PARAMETER

    def test_an_unknown_group_is_made_where_groups_are_made(self, broker):
        ask = pull(broker, consumerGroup="H", sysFlag=SUBSCRIPTION)
        assert ask.question == {"ask": "group", "group": "H"}
        broker.add_group("H")
        assert replied(answered(ask)).code == ResponseCode.PULL_NOT_FOUND

    @pytest.mark.parametrize("code", [0, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST])
    def test_an_unknown_group_is_told_where_none_was_made(self, broker, code):
        with pytest.raises(RequestError) as caught:
            answered(pull(broker, consumerGroup="H"), code)
        assert caught.value.code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


class TestSubscription:
    """Which messages the group's heartbeat asks for."""

    def test_its_tags_are_filtered(self, broker):
        fill(broker, "a", "b")
        broker.subscribe("G", SubscriptionData.from_tags("T", "b", version=5))
        assert bodies(pull(broker)) == [b"b1"]

    def test_the_requests_own_goes_first(self, broker):
        fill(broker, "a", "b")
        broker.subscribe("G", SubscriptionData.from_tags("T", "b", version=5))
        assert bodies(pull(broker, sysFlag=SUBSCRIPTION, subscription="a")) == [b"a0"]

    def test_the_requests_own_needs_nobody_online(self, broker):
        broker.add_group("H")
        fill(broker, "a")
        assert bodies(pull(broker, consumerGroup="H", sysFlag=SUBSCRIPTION, subscription="*")) == [b"a0"]


class TestCommit:
    """The offset that comes with a pull."""

    def committed(self, broker):
        return broker.replica.committed_offset("G", broker.store.slot(b"T"))

    def test_it_is_stored_though_the_pull_finds_nothing(self, broker):
        broker.offsets.add(0, broker.store.slot(b"T"), 3)
        pull(broker, sysFlag=COMMIT, commitOffset=2)
        assert self.committed(broker) == 2

    def test_it_is_stored_on_the_first_pass_alone(self, broker):
        row = broker.offsets.add(0, broker.store.slot(b"T"), 3)
        park = pull(broker, sysFlag=COMMIT | SUSPEND, commitOffset=2)
        broker.offsets.store(row, 9)
        again(park)
        assert self.committed(broker) == 9

    @pytest.mark.parametrize(
        "fields", [{"sysFlag": 0, "commitOffset": 2}, {"sysFlag": COMMIT, "commitOffset": -1}]
    )
    def test_it_is_stored_only_where_one_is_given(self, broker, fields):
        broker.offsets.add(0, broker.store.slot(b"T"), 3)
        pull(broker, **fields)
        assert self.committed(broker) == 3

    def test_the_first_of_a_group_is_the_conductors(self, broker):
        fill(broker, "a")
        ask = pull(broker, sysFlag=COMMIT, commitOffset=1)
        assert ask.question == {"ask": "offset", "group": "G", "topic": "T", "queue_id": 0, "offset": 1}
        assert bodies(answered(ask)) == [b"a0"]

    def test_one_that_cannot_be_stored_is_told(self, broker):
        with pytest.raises(RequestError, match="no room"):
            answered(pull(broker, sysFlag=COMMIT, commitOffset=1), ResponseCode.SYSTEM_ERROR, "no room")


class TestWaiting:
    """Pulls that find nothing and may wait."""

    def test_a_pull_waits_for_the_next_message(self, broker):
        fill(broker, "a")
        park = pull(broker, 1, sysFlag=SUSPEND)
        assert park == Park(broker.store.slot(b"T"), 1, NOW_MS + 15000, park.again)
        fill(broker, "b")
        assert bodies(again(park)) == [b"b0"]

    def test_a_queue_without_any_message_is_waited_for(self, broker):
        park = pull(broker, 0, sysFlag=SUSPEND)
        assert park.past_offset == 0
        fill(broker, "a")
        assert bodies(again(park)) == [b"a0"]

    def test_a_pull_that_may_not_wait_is_answered(self, broker):
        assert isinstance(pull(broker, 0), Reply)

    @pytest.mark.parametrize("offset", [1, 5])
    def test_a_pull_whose_offset_is_moved_does_not_wait(self, broker, offset):
        assert replied(pull(broker, offset, sysFlag=SUSPEND)).code == ResponseCode.PULL_OFFSET_MOVED

    def test_a_pull_for_which_time_is_up_is_told_that_nothing_came(self, broker):
        fill(broker, "a")
        last = again(pull(broker, 1, sysFlag=SUSPEND), is_last=True)
        assert bounds(last) == (ResponseCode.PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 1, 0, 1)

    def test_a_wake_for_nothing_goes_on_waiting_until_the_same_moment(self, broker):
        first = pull(broker, 0, sysFlag=SUSPEND)
        second = again(first)
        assert (second.past_offset, second.deadline_ms) == (0, first.deadline_ms)

    def test_messages_that_do_not_match_are_waited_past(self, broker):
        first = pull(broker, 0, sysFlag=SUSPEND | SUBSCRIPTION, subscription="b")
        fill(broker, "a", "a")
        second = again(first)
        assert second.past_offset == 2
        fill(broker, "b")
        outcome = again(second)
        assert bodies(outcome) == [b"b0"]
        assert replied(outcome).fields["nextBeginOffset"] == "3"

    def test_what_was_waited_past_is_told_when_time_is_up(self, broker):
        park = pull(broker, 0, sysFlag=SUSPEND | SUBSCRIPTION, subscription="b")
        fill(broker, "a", "a")
        expected = (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 2, 0, 2)
        assert bounds(again(park, is_last=True)) == expected
        assert bounds(again(again(park), is_last=True)) == expected

    def test_one_wake_looks_at_no_more_than_one_pull_may(self, tmp_path):
        broker = SmallBroker(tmp_path, filter_scan_bytes_max=60)
        broker.add_topic("T")
        broker.add_group("G")
        park = pull(broker, 0, sysFlag=SUSPEND | SUBSCRIPTION, subscription="b", maxMsgNums=1)
        fill(broker, "a", "a", "a", "a", "b")
        park = again(park)
        assert park.past_offset == 3
        assert bodies(again(park)) == [b"b4"]

    def test_another_subscription_begins_where_the_client_did(self, broker):
        broker.subscribe("G", SubscriptionData.from_tags("T", "b", version=5))
        park = pull(broker, 0, sysFlag=SUSPEND)
        fill(broker, "a")
        park = again(park)
        broker.subscribe("G", SubscriptionData.from_tags("T", "a", version=6))
        assert bodies(again(park)) == [b"a0"]

    def test_a_pull_that_waits_is_checked_again(self, broker):
        park = pull(broker, 0, sysFlag=SUSPEND)
        broker.add_topic("T", permission=2)
        with pytest.raises(RequestError) as caught:
            again(park)
        assert caught.value.code == ResponseCode.NO_PERMISSION

    def test_without_long_polling_the_wait_is_short(self, tmp_path):
        broker = SmallBroker(tmp_path, long_polling_enable=False, short_polling_ms=700)
        broker.add_topic("T")
        broker.add_group("G")
        assert pull(broker, 0, sysFlag=SUSPEND | SUBSCRIPTION).deadline_ms == NOW_MS + 700

    @pytest.mark.parametrize(("given", "deadline_ms"), [(-1, NOW_MS), (2**62, NOW_MS + 86_400_000)])
    def test_an_absurd_wait_is_bounded(self, broker, given, deadline_ms):
        assert pull(broker, 0, sysFlag=SUSPEND, suspendTimeoutMillis=given).deadline_ms == deadline_ms


class TestSql:
    """Subscriptions with an expression of properties."""

    @pytest.fixture
    def broker(self, tmp_path):
        return self.made(tmp_path)

    @staticmethod
    def made(path, **settings):
        made = SmallBroker(path, property_filter_enable=True, **settings)
        made.add_topic("T")
        made.add_topic("%RETRY%G")
        made.add_group("G")
        made.subscribe("G", sql("a > 5"), sql("b = 'x'", "%RETRY%G"))
        made.replica.apply(FilterUpdate("T", "G", "a > 5", 5))
        made.replica.apply(FilterUpdate("%RETRY%G", "G", "b = 'x'", 5))
        return made

    @staticmethod
    def fill(broker, *values, topic="T", **more):
        for value in values:
            text = "".join(f"{name}\x01{text}\x02" for name, text in {"a": value, **more}.items())
            broker.append(topic, properties=text.encode(), body=str(value).encode())

    def test_the_groups_expression_counts(self, broker):
        self.fill(broker, 4, 6, "x", 5, 77)
        assert bodies(pull(broker)) == [b"6", b"77"]

    def test_the_requests_own_goes_first(self, broker):
        self.fill(broker, 4, 6)
        asked = {"sysFlag": SUBSCRIPTION, "expressionType": "SQL92", "subscription": "a < 5"}
        assert bodies(pull(broker, **asked)) == [b"4"]

    def test_what_does_not_match_is_passed_over(self, broker):
        self.fill(broker, 1, 2, 3)
        assert bounds(pull(broker)) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 3, 0, 3)

    def test_a_pull_waits_for_a_message_that_matches(self, broker):
        park = pull(broker, sysFlag=SUSPEND)
        assert isinstance(park, Park)
        self.fill(broker, 1, 2)
        park = park.again(NOW_MS, False)
        assert isinstance(park, Park)
        assert park.past_offset == 2
        self.fill(broker, 9)
        assert bodies(park.again(NOW_MS, False)) == [b"9"]

    def test_when_its_time_is_over_it_is_told_how_far_it_got(self, broker):
        park = pull(broker, sysFlag=SUSPEND)
        self.fill(broker, 1, 2)
        assert bounds(park.again(NOW_MS, True))[:3] == (
            ResponseCode.PULL_RETRY_IMMEDIATELY,
            "NO_MATCHED_MESSAGE",
            2,
        )

    def test_what_was_looked_at_counts_for_its_expression_only(self, broker):
        park = pull(broker, sysFlag=SUSPEND)
        self.fill(broker, 1, 2)
        park = park.again(NOW_MS, False)
        broker.replica.apply(FilterUpdate("T", "G", "a = 1", 5))
        self.fill(broker, 3)
        assert bodies(park.again(NOW_MS, False)) == [b"1"]

    def test_without_a_registered_expression_there_is_none(self, broker):
        broker.replica.apply(FilterUpdate("T", "G", None, 5))
        with pytest.raises(RequestError) as caught:
            pull(broker)
        assert (caught.value.code, caught.value.remark) == (
            ResponseCode.FILTER_DATA_NOT_EXIST,
            "The broker's consumer filter data is not exist!Your expression may be wrong!",
        )

    def test_an_older_expression_is_not_the_latest(self, broker):
        broker.replica.apply(FilterUpdate("T", "G", "a > 5", 4))
        with pytest.raises(RequestError) as caught:
            pull(broker)
        assert (caught.value.code, caught.value.remark) == (
            ResponseCode.FILTER_DATA_NOT_LATEST,
            "the consumer's consumer filter data not latest",
        )
        assert replied(pull(broker, subVersion=4)).code == ResponseCode.PULL_NOT_FOUND

    @pytest.mark.parametrize("expression", ["a >", "5", "a = NULL", ""])
    def test_a_wrong_expression_of_a_request_is_refused(self, broker, expression):
        asked = {"sysFlag": SUBSCRIPTION, "expressionType": "SQL92", "subscription": expression}
        assert refusal(broker, **asked)[0] == ResponseCode.SUBSCRIPTION_PARSE_FAILED

    def test_a_class_filter_lets_everything_pass(self, broker):
        broker.subscribe("G", replace(sql("a > 5"), class_filter=True))
        self.fill(broker, 1, 9)
        assert bodies(pull(broker)) == [b"1", b"9"]

    def test_retries_are_filtered_by_their_own_expression(self, broker):
        self.fill(broker, 1, 9, topic="%RETRY%G", b="x", RETRY_TOPIC="T")
        assert bodies(pull(broker, topic="%RETRY%G")) == [b"1", b"9"]

    @pytest.mark.parametrize(
        "asked", [{}, {"sysFlag": SUBSCRIPTION, "expressionType": "SQL92", "subscription": "z = 1"}]
    )
    def test_retries_may_be_filtered_by_that_of_their_topic(self, tmp_path, asked):
        broker = self.made(tmp_path, filter_support_retry=True)
        self.fill(broker, 1, 9, topic="%RETRY%G", RETRY_TOPIC="T")
        self.fill(broker, 2, topic="%RETRY%G", RETRY_TOPIC="another")
        self.fill(broker, 3, topic="%RETRY%G")
        assert bodies(pull(broker, topic="%RETRY%G", **asked)) == [b"9", b"2", b"3"]


def sql(expression, topic="T", version=5):
    return SubscriptionData(topic, expression, version=version, expression_type="SQL92")


def test_a_pending_reset_is_told_once_instead_of_messages_and_what_comes_by_the_way_is_not_committed(broker):
    fill(broker, "a", "a", "a")
    row = broker.offsets.add(0, broker.store.slot(b"T", 0), 3)
    broker.offsets.reset(row, 1)
    moved = (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET", 1, 0, 3)
    assert bounds(pull(broker, 3, sysFlag=SUSPEND | COMMIT, commitOffset=3)) == moved
    assert broker.offsets.load(row) == 1
    assert bodies(pull(broker, 1)) == [b"a1", b"a2"]


def test_a_pull_that_waits_is_told_of_a_reset_when_it_is_looked_at_again(broker):
    fill(broker, "a", "a")
    waiting = pull(broker, 2, sysFlag=SUSPEND)
    broker.offsets.reset(broker.offsets.add(0, broker.store.slot(b"T", 0), 2), 0)
    assert bounds(again(waiting, is_last=True))[:3] == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET", 0)
