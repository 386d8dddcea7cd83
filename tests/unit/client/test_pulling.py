import threading
from time import monotonic

import pytest

from shmq.client.consumer import PullConsumer
from shmq.client.errors import NoRouteError, PullError, UnreachableError
from shmq.client.pulling import NOBODYS_GROUP, ConsumerSettings
from shmq.errors import PeerError
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.consume_headers import PullHeader, PullResponseHeader
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PULL_SUBSCRIPTION, PULL_SUSPEND
from tests.support.fake_broker import DEADLINE_S

_PULL = RequestCode.PULL_MESSAGE
_Q0, _Q1 = MessageQueue("T", "fake", 0), MessageQueue("T", "fake", 1)


@pytest.fixture
def consume(broker):
    """Open a consumer of T by its settings; it reads from the beginning unless told otherwise."""
    opened = []

    def open_one(**settings):
        consumer = PullConsumer("T", broker.address, ConsumerSettings(**{"from_beginning": True, **settings}))
        opened.append(consumer)
        return consumer

    yield open_one
    for consumer in opened:
        consumer.close()


def _poll_all(consumer, count):
    """Poll until there are so many messages; return their bodies."""
    bodies = []
    while len(bodies) < count:
        found = consumer.poll(DEADLINE_S)
        assert found, f"got {bodies} only"
        bodies += [delivery.body for delivery in found]
    return bodies


def _poll_until(consumer, is_so):
    """Poll in small steps until something is so; on a loaded machine one step may see nothing."""
    give_up_at = monotonic() + DEADLINE_S
    while not is_so():
        assert consumer.poll(0.05) == []
        assert monotonic() < give_up_at


def _headers(broker):
    return [read_header(PullHeader, request.fields) for request in broker.received(_PULL)]


def _answer_once(broker, code, *, next_offset=0, remark=None, body=b""):
    """Answer the next pull so, and all after it as a broker does."""
    header = PullResponseHeader(suggested_broker_id=0, next_offset=next_offset, min_offset=0, max_offset=99)

    def answer(request):
        broker.script.clear()
        return request.reply(code, remark, fields=write_header(header), body=body)

    broker.script[_PULL] = answer


def test_all_queues_are_read_in_their_order(consume, broker):
    for at in range(10):
        broker.store("T", at % 2, b"%d" % at)
    bodies = _poll_all(consume(), 10)
    assert [body for body in bodies if int(body) % 2 == 0] == [b"0", b"2", b"4", b"6", b"8"]
    assert sorted(bodies) == [b"%d" % at for at in range(10)]


def test_a_message_that_comes_later_ends_the_wait(consume, broker):
    consumer = consume()
    assert consumer.poll(0.0) == []
    broker.wait_received(_PULL, 2)
    broker.store("T", 1, b"late")
    assert _poll_all(consumer, 1) == [b"late"]


def test_nothing_in_time_is_nothing(consume):
    begun_s = monotonic()
    assert consume().poll(0.05) == []
    assert monotonic() - begun_s >= 0.05


def test_a_held_pull_stays_on_its_way_between_polls(consume, broker):
    consumer = consume()
    for _ in range(5):
        consumer.poll(0.01)
    assert len(broker.received(_PULL)) == 2


def test_a_pull_carries_subscription_and_leave_to_hold_it(consume, broker):
    consume(group="G", expression="A || B", message_count_max=7, suspend_s=3.0).poll(0.0)
    broker.wait_received(_PULL, 2)
    header = _headers(broker)[0]
    assert (header.consumer_group, header.subscription, header.expression_type) == ("G", "A || B", "TAG")
    assert (header.sys_flag, header.suspend_timeout_ms) == (PULL_SUSPEND | PULL_SUBSCRIPTION, 3000)
    assert header.message_count_max == 7


def test_without_a_group_it_reads_as_a_group_of_every_broker(consume, broker):
    consume().poll(0.0)
    assert broker.wait_received(_PULL)[0].fields["consumerGroup"] == NOBODYS_GROUP
    assert broker.received(RequestCode.QUERY_CONSUMER_OFFSET) == []


def test_tags_that_share_a_hash_are_told_apart_here(consume, broker):
    for tag in ("Aa", "BB", None):  # Java hashes Aa and BB alike
        broker.store("T", 0, (tag or "none").encode(), {"TAGS": tag} if tag else {})
    consumer = consume(expression="Aa")
    assert _poll_all(consumer, 1) == [b"Aa"]
    assert consumer.positions[_Q0] == 3


def test_a_new_group_starts_at_the_end_unless_told_otherwise(consume, broker):
    broker.store("T", 0, b"old")
    consumer = consume(group="G", from_beginning=False)
    consumer.poll(0.0)
    broker.store("T", 0, b"new")
    assert _poll_all(consumer, 1) == [b"new"]


def test_the_beginning_is_the_first_message_still_there(consume, broker):
    broker.min_offsets["T", 0] = 40
    broker.store("T", 0, b"first")
    consumer = consume(group="G")
    assert _poll_all(consumer, 1) == [b"first"]
    assert consumer.positions[_Q0] == 41


def test_a_known_group_goes_on_where_it_was(consume, broker):
    for at in range(3):
        broker.store("T", 0, b"%d" % at)
    broker.committed["G", "T", 0] = 2
    assert _poll_all(consume(group="G"), 1) == [b"2"]


def test_an_offset_that_cannot_be_asked_for_is_no_new_group(consume, broker):
    broker.script[RequestCode.QUERY_CONSUMER_OFFSET] = lambda request: request.reply(
        ResponseCode.SYSTEM_ERROR, "broken"
    )
    with pytest.raises(Exception, match="broken"):
        consume(group="G").poll(1.0)
    assert broker.received(_PULL) == []


def test_a_commit_tells_how_far_messages_were_handed_out(consume, broker):
    for _ in range(3):
        broker.store("T", 0, b"x")
    consumer = consume(group="G")
    _poll_all(consumer, 3)
    consumer.commit()
    assert broker.committed == {("G", "T", 0): 3, ("G", "T", 1): 0}


def test_a_commit_can_go_less_far(consume, broker):
    broker.store("T", 0, b"x")
    consumer = consume(group="G")
    _poll_all(consumer, 1)
    consumer.commit({_Q0: 0})
    assert broker.committed == {("G", "T", 0): 0}


def test_a_commit_tells_only_what_is_new(consume, broker):
    broker.committed["G", "T", 1] = 0
    broker.store("T", 0, b"x")
    consumer = consume(group="G")
    _poll_all(consumer, 1)
    consumer.commit()
    consumer.commit()
    updates = broker.received(RequestCode.UPDATE_CONSUMER_OFFSET)
    assert [update.fields["queueId"] for update in updates] == ["0"]


def test_nothing_is_committed_by_reading_and_closing(consume, broker):
    broker.store("T", 0, b"x")
    consumer = consume(group="G")
    _poll_all(consumer, 1)
    consumer.close()
    assert broker.committed == {}


def test_a_consumer_without_a_group_cannot_commit(consume):
    with pytest.raises(ValueError, match="group"):
        consume().commit()


def test_a_refused_commit_is_an_error(consume, broker):
    broker.script[RequestCode.UPDATE_CONSUMER_OFFSET] = lambda request: request.reply(
        ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "who"
    )
    with pytest.raises(Exception, match="who"):
        consume(group="G").commit()


def test_reading_stops_at_the_given_offsets(consume, broker):
    for at in range(5):
        broker.store("T", 0, b"%d" % at)
    consumer = consume()
    assert consumer.ends() == {_Q0: 5, _Q1: 0}
    consumer.stop_at({_Q0: 3, _Q1: 0})
    assert _poll_all(consumer, 3) == [b"0", b"1", b"2"]
    assert consumer.is_at_end
    assert consumer.poll(DEADLINE_S) == []
    assert consumer.positions == {_Q0: 3, _Q1: 0}


def test_a_seek_reads_again(consume, broker):
    for at in range(3):
        broker.store("T", 0, b"%d" % at)
    consumer = consume()
    _poll_all(consumer, 3)
    consumer.seek(_Q0, 1)
    assert _poll_all(consumer, 2) == [b"1", b"2"]


def test_an_offset_that_was_moved_is_taken(consume, broker):
    broker.committed["G", "T", 0] = 900
    for _ in range(3):
        broker.store("T", 0, b"x")
    consumer = consume(group="G")
    _poll_until(consumer, lambda: consumer.positions.get(_Q0) == 3)
    broker.store("T", 0, b"next")
    assert _poll_all(consumer, 1) == [b"next"]


def test_what_did_not_match_is_stepped_over_at_once(consume, broker):
    broker.topics["T"] = 1
    for at in range(3):
        broker.store("T", 0, b"%d" % at)
    _answer_once(broker, ResponseCode.PULL_RETRY_IMMEDIATELY, next_offset=2)
    assert _poll_all(consume(), 1) == [b"2"]


def test_a_broker_that_does_not_hold_pulls_is_not_asked_without_pause(consume, broker):
    header = PullResponseHeader(suggested_broker_id=0, next_offset=0, min_offset=0, max_offset=0)
    broker.script[_PULL] = lambda request: request.reply(
        ResponseCode.PULL_NOT_FOUND, fields=write_header(header)
    )
    consume().poll(0.25)
    assert len(broker.received(_PULL)) <= 2 * 3


@pytest.mark.parametrize("code", [ResponseCode.NO_PERMISSION, ResponseCode.SUBSCRIPTION_PARSE_FAILED])
def test_a_refusal_for_good_is_raised_at_once(consume, broker, code):
    broker.script[_PULL] = lambda request: request.reply(code, "no")
    with pytest.raises(PullError) as refused:
        consume().poll(DEADLINE_S)
    assert refused.value.code == code


def test_a_passing_refusal_is_waited_out(consume, broker):
    broker.topics["T"] = 1
    broker.store("T", 0, b"x")
    _answer_once(broker, ResponseCode.FLOW_CONTROL)
    assert _poll_all(consume(), 1) == [b"x"]


def test_a_passing_refusal_that_stays_is_raised_when_the_time_is_over(consume, broker):
    broker.script[_PULL] = lambda request: request.reply(ResponseCode.SYSTEM_BUSY, "busy")
    consumer = consume()
    with pytest.raises(PullError, match="busy"):
        _poll_until(consumer, lambda: False)


def test_a_lost_connection_is_opened_again(consume, broker):
    consumer = consume()
    consumer.poll(0.0)
    broker.wait_received(_PULL, 2)
    broker.drop_connections()
    broker.store("T", 0, b"x")
    assert _poll_all(consumer, 1) == [b"x"]


def test_a_broker_that_is_down_is_told_when_the_time_is_over(consume, broker):
    consumer = consume()
    consumer.poll(0.0)
    broker.close()
    with pytest.raises(UnreachableError):
        _poll_until(consumer, lambda: False)


def test_messages_that_cannot_be_read_are_the_brokers_fault(consume, broker):
    broker.topics["T"] = 1
    _answer_once(broker, ResponseCode.SUCCESS, next_offset=1, body=b"garbage")
    consumer = consume()
    with pytest.raises(PeerError):
        consumer.poll(DEADLINE_S)
    assert consumer.positions[_Q0] == 0


def test_a_topic_that_does_not_exist_is_told(broker):
    with PullConsumer("Nowhere", broker.address) as consumer:
        with pytest.raises(NoRouteError):
            consumer.ends()
        with pytest.raises(NoRouteError):
            consumer.poll(0.05)


def test_a_topic_that_does_not_exist_is_waited_for(broker):
    def make_later():
        broker.wait_received(RequestCode.GET_ROUTEINFO_BY_TOPIC)
        broker.store("Later", 0, b"first")
        broker.topics["Later"] = 1

    thread = threading.Thread(target=make_later)
    thread.start()
    with PullConsumer("Later", broker.address) as consumer:
        assert _poll_all(consumer, 1) == [b"first"]
    thread.join()


def test_a_topic_that_nobody_may_read_is_told(broker):
    broker.routes["W"] = broker.route(1, permission=2)
    with PullConsumer("W", broker.address) as consumer, pytest.raises(NoRouteError, match="read"):
        consumer.poll(0.0)


def test_a_topic_that_appears_later_is_read_from_its_beginning(broker):
    with PullConsumer("Later", broker.address) as consumer:
        with pytest.raises(NoRouteError):
            consumer.poll(0.0)
        broker.topics["Later"] = 1
        broker.store("Later", 0, b"first")
        assert _poll_all(consumer, 1) == [b"first"]


def test_queues_that_appear_later_are_read_from_their_beginning(consume, broker):
    consumer = consume(from_beginning=False)
    consumer.poll(0.0)
    broker.wait_received(_PULL, 2)
    broker.topics["T"] = 3
    broker.store("T", 2, b"first")
    broker.drop_connections()  # a lost connection makes it doubt its route
    assert _poll_all(consumer, 1) == [b"first"]


def test_queues_that_are_gone_are_read_no_more(consume, broker):
    consumer = consume()
    consumer.poll(0.0)
    broker.wait_received(_PULL, 2)
    broker.topics["T"] = 1
    broker.drop_connections()
    broker.store("T", 0, b"x")
    _poll_all(consumer, 1)
    assert set(consumer.positions) == {_Q0}
