"""Requests about the broker and who is connected to it."""

import pytest

from shmq.broker.administering_broker import (
    handle_all_producers,
    handle_consumer_connections,
    handle_get_config,
    handle_producer_connections,
    handle_runtime_info,
)
from shmq.broker.membership import handle_heartbeat
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import DataVersion, KVTable
from shmq.wire.codes import Language, ResponseCode
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData, SubscriptionData
from tests.support.small_metadata import NOW_MS, SmallMetadata

CONNECTION = {"clientAddr": "127.0.0.1:50000", "clientId": "x", "language": "CPP", "version": 333}


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path, flush_disk_type="SYNC_FLUSH", connection_idle_ms=90_000)
    consumer = ConsumerData("g", subscriptions=(SubscriptionData.from_tags("T", "a", 3),))
    body = HeartbeatData("x", ("p",), (consumer,)).to_bytes()
    made.call(handle_heartbeat, 34, {}, body, language=Language.CPP, version=333)
    return made


def asked(broker, handler, code, **fields):
    return fastjson.loads(broker.call(handler, code, fields).command.body)


def test_a_consumer_groups_connections_are_listed(broker):
    assert asked(broker, handle_consumer_connections, 203, consumerGroup="g") == {
        "connectionSet": [CONNECTION],
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
        "consumeType": "CONSUME_PASSIVELY",
        "messageModel": "CLUSTERING",
        "subscriptionTable": {"T": SubscriptionData.from_tags("T", "a", 3).to_json()},
    }


def test_a_consumer_group_that_is_offline_is_an_error(broker):
    with pytest.raises(RequestError) as refused:
        asked(broker, handle_consumer_connections, 203, consumerGroup="h")
    assert (refused.value.code, refused.value.remark) == (
        ResponseCode.CONSUMER_NOT_ONLINE,
        "the consumer group[h] not online",
    )


def test_a_producer_groups_connections_are_listed(broker):
    assert asked(broker, handle_producer_connections, 204, producerGroup="p") == {
        "connectionSet": [CONNECTION]
    }
    with pytest.raises(RequestError) as refused:
        asked(broker, handle_producer_connections, 204, producerGroup="q")
    assert refused.value.code == ResponseCode.SYSTEM_ERROR


def test_all_producers_are_listed(broker):
    assert asked(broker, handle_all_producers, 328) == {
        "data": {
            "p": [
                {
                    "clientId": "x",
                    "language": "CPP",
                    "lastUpdateTimestamp": NOW_MS,
                    "remoteIP": "/127.0.0.1:50000",
                    "version": 333,
                }
            ]
        }
    }


def test_settings_are_told_under_the_names_of_rocketmq(broker):
    answer = broker.call(handle_get_config, 26).command
    lines = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
    assert {
        "brokerName": "b",
        "brokerClusterName": "c",
        "listenPort": "10911",
        "bindAddress": "127.0.0.1",
        "brokerIP1": "127.0.0.1",
        "flushDiskType": "SYNC_FLUSH",
        "autoCreateTopicEnable": "true",
        "serverChannelMaxIdleTimeSeconds": "90",
        "storePathRootDir": str(broker.root),
    }.items() <= lines.items()
    assert DataVersion.from_bytes(answer.fields["version"].encode()) == DataVersion(0, 0, NOW_MS)


def test_runtime_information_holds_what_is_known(broker):
    broker.state.measure = lambda: {"commitLogMaxOffset": "7"}
    day_ms = 86_400_000
    answer = broker.call(handle_runtime_info, 28, now_ms=NOW_MS + day_ms + 3_661_000).command
    table = KVTable.from_bytes(answer.body).table
    assert {
        "brokerActive": "true",
        "brokerVersionDesc": "V5_3_3",
        "bootTimestamp": str(NOW_MS),
        "runtime": "[ 1 days, 1 hours, 1 minutes, 1 seconds ]",
        "scheduleMessageOffset_18": "0,0",
        "commitLogMaxOffset": "7",
    }.items() <= table.items()
