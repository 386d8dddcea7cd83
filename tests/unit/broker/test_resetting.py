"""Resets of offsets, on the broker's side and by the clients; offsets taken from other groups, and compared."""

import pytest

from shmq.broker.clients import Client
from shmq.broker.effects import DocumentName, Persist, Push
from shmq.broker.outcome import Channel
from shmq.broker.resetting import handle_clone_offset, handle_correction_offset, handle_reset_offset
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.heartbeat_bodies import ConsumerData, SubscriptionData
from shmq.wire.reset_bodies import ResetOffsets
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata

QUEUES = 3


def new_broker(root, **settings):
    made = SmallMetadata(root, **settings)
    made.state.topics.put(TopicConfig("T", QUEUES, QUEUES), NOW_MS)
    made.state.groups.find("g", NOW_MS)
    for queue_id, count in enumerate((4, 2, 0)):
        for _ in range(count):
            made.append("T", queue_id)
    made.state.drain()
    return made


@pytest.fixture
def broker(tmp_path):
    return new_broker(tmp_path)


@pytest.fixture
def old_broker(tmp_path):
    """One where clients do it themselves."""
    made = new_broker(tmp_path, use_server_side_reset_offset=False)
    for queue_id, offset in enumerate((3, 1, 0)):
        made.state.offsets.commit("g", made.state.topics.slots("T")[queue_id], offset)
    return made


def join(broker, client_id="x", *, group="g", topic="T", language=Language.JAVA, version=413, connection=7):
    channel = Channel(0, 1, connection)
    client = Client(channel, client_id, language, version, "h:1", NOW_MS)
    data = ConsumerData(group, subscriptions=(SubscriptionData(topic),))
    broker.state.clients.hear_consumer(client, data, 0, notify=False)
    broker.state.drain()
    return channel


def reset(broker, timestamp=-1, **fields):
    given = {"topic": "T", "group": "g", "timestamp": timestamp, "isForce": "true"} | fields
    outcome = broker.call(handle_reset_offset, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, given)
    return by_queue(ResetOffsets.from_bytes(outcome.command.body))


def by_queue(table):
    assert {(queue.topic, queue.broker_name) for queue in table.offsets} <= {("T", "b")}
    return {queue.queue_id: offset for queue, offset in table.offsets.items()}


def committed(broker, group="g"):
    return {each.queue_id: each.offset for each in broker.state.offsets if each.group == group}


def refused(call):
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code, caught.value.remark


def test_a_reset_to_the_end_reaches_every_queue_and_is_saved(broker):
    assert reset(broker) == {0: 4, 1: 2, 2: 0}
    assert committed(broker) == {0: 4, 1: 2, 2: 0}
    assert broker.state.drain() == [Persist(DocumentName.CONSUMER_OFFSETS)]
    offsets = broker.tables.offsets
    assert [offsets.pending_reset(row) for row in range(offsets.count)] == [4, 2, 0]


def test_a_reset_to_a_time_finds_the_first_message_of_that_time(broker):
    assert reset(broker, 0) == {0: 0, 1: 0, 2: 0}
    assert reset(broker, NOW_MS * 2) == {0: 4, 1: 2, 2: 0}


def test_one_queue_is_reset_to_an_offset(broker):
    assert reset(broker, queueId=0, offset=2) == {0: 2}
    assert reset(broker, queueId=1, offset=-1) == {1: 2}
    assert committed(broker) == {0: 2, 1: 2}
    code, remark = refused(lambda: reset(broker, queueId=0, offset=6))
    assert (code, remark) == (ResponseCode.SYSTEM_ERROR, "Target offset 6 not in consume queue range [0-4]")
    assert refused(lambda: reset(broker, queueId=3, offset=0))[0] == ResponseCode.SYSTEM_ERROR


def test_nobody_need_be_online_but_topic_and_group_must_exist(broker):
    assert refused(lambda: reset(broker, topic="X"))[0] == ResponseCode.TOPIC_NOT_EXIST
    assert refused(lambda: reset(broker, group="X"))[0] == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
    broker.state.topics.put(TopicConfig("Blind", 0, 2), NOW_MS)
    assert refused(lambda: reset(broker, topic="Blind"))[1] == "No queues to reset."


def test_a_reset_outlives_a_restart_as_the_committed_offset(broker):
    reset(broker, queueId=0, offset=1)
    broker.tables.offsets.store(0, 3)  # by a member that does not know yet
    assert committed(broker.again()) == {0: 1}


def test_by_the_clients_each_member_is_told_in_its_language(old_broker):
    java = join(old_broker, "java")
    cpp = join(old_broker, "cpp", language=Language.CPP, connection=8)
    assert reset(old_broker, 0, isForce="false") == {0: 0, 1: 0, 2: 0}
    pushes = {push.channel: push.command for push in old_broker.state.drain() if isinstance(push, Push)}
    assert set(pushes) == {java, cpp}
    for told in pushes.values():
        assert (told.code, told.is_oneway) == (RequestCode.RESET_CONSUMER_CLIENT_OFFSET, True)
        assert (told.fields["topic"], told.fields["group"], told.fields["timestamp"]) == ("T", "g", "0")
    assert by_queue(ResetOffsets.from_bytes(pushes[java].body)) == {0: 0, 1: 0, 2: 0}
    rows = fastjson.loads(pushes[cpp].body)["offsetTable"]
    assert rows == [
        {"brokerName": "b", "offset": 0, "queueId": queue_id, "topic": "T"} for queue_id in range(QUEUES)
    ]
    assert committed(old_broker) == {0: 3, 1: 1, 2: 0}, "that is the members' own matter"


def test_by_the_clients_nobody_goes_forward_unless_forced(old_broker):
    join(old_broker)
    assert reset(old_broker, isForce="false") == {0: 3, 1: 1, 2: 0}
    assert reset(old_broker, isForce="true") == {0: 4, 1: 2, 2: 0}


def test_by_the_clients_somebody_must_be_online_and_have_offsets(old_broker):
    code, remark = refused(lambda: reset(old_broker))
    assert code == ResponseCode.CONSUMER_NOT_ONLINE
    assert remark == "Consumer not online, so can not reset offset, Group: g Topic: T Timestamp: -1"
    assert refused(lambda: reset(old_broker, group="new"))[0] == ResponseCode.SYSTEM_ERROR
    assert refused(lambda: reset(old_broker, topic="X"))[0] == ResponseCode.TOPIC_NOT_EXIST
    join(old_broker, version=3)
    assert refused(lambda: reset(old_broker))[0] == ResponseCode.SYSTEM_ERROR


def clone(broker, **fields):
    given = {"srcGroup": "g", "destGroup": "h", "topic": "T"} | fields
    outcome = broker.call(handle_clone_offset, RequestCode.CLONE_GROUP_OFFSET, given)
    assert outcome.command.code == ResponseCode.SUCCESS
    return committed(broker, given["destGroup"])


def test_a_group_takes_the_offsets_of_another(old_broker):
    assert clone(old_broker) == {0: 3, 1: 1, 2: 0}
    assert old_broker.state.drain() == [Persist(DocumentName.CONSUMER_OFFSETS)]
    assert clone(old_broker, destGroup="i", topic="X") == {}
    assert clone(old_broker, destGroup="j", topic=None) == {0: 3, 1: 1, 2: 0}


def test_a_topic_that_the_other_group_has_left_is_cloned_only_offline(old_broker):
    join(old_broker, topic="U")
    assert clone(old_broker) == {}
    assert clone(old_broker, offline="true") == {0: 3, 1: 1, 2: 0}


def corrections(broker, **fields):
    given = {"topic": "T", "compareGroup": "h"} | fields
    body = broker.call(handle_correction_offset, RequestCode.QUERY_CORRECTION_OFFSET, given).command.body
    return fastjson.loads(body)["correctionOffsets"]


def test_the_least_offset_of_all_groups_is_told_unless_the_group_compared_is_behind_it(old_broker):
    assert corrections(old_broker) == {"0": 3, "1": 1, "2": 0}
    old_broker.state.offsets.commit("h", old_broker.state.topics.slots("T")[0], 2)
    assert corrections(old_broker) == {"0": 2, "1": 1, "2": 0}
    assert corrections(old_broker, filterGroups="h,z") == {"0": (1 << 63) - 1, "1": 1, "2": 0}
    assert corrections(old_broker, topic="X") == {}


def test_queues_are_named_as_routes_name_them(broker):
    assert (
        MessageQueue("T", "b", 0)
        in ResetOffsets.from_bytes(
            broker.call(
                handle_reset_offset,
                RequestCode.INVOKE_BROKER_TO_RESET_OFFSET,
                {"topic": "T", "group": "g", "timestamp": 0},
            ).command.body
        ).offsets
    )


def test_who_pops_ends_a_reset_by_heeding_it(broker):
    reset(broker, 0)
    slot = broker.state.topics.slots("T")[0]
    broker.state.offsets.end_reset("g", slot)
    broker.state.offsets.commit("g", slot, 3)
    assert broker.state.offsets.query("g", "T", 0) == 3
    broker.state.offsets.end_reset("nobody", slot)
