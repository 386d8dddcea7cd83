"""Assignment by the broker: modes that are set, and who gets which queue."""

import orjson
import pytest

from shmq.broker.assigning import allocate
from shmq.broker.effects import DocumentName, Persist
from shmq.errors import StoreError
from shmq.wire import fastjson
from shmq.wire.assignment_bodies import ModeSetting, RequestMode
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import TopicConfig
from tests.support.pop_ground import PopGround
from tests.support.small_metadata import NOW_MS, SmallMetadata

QUEUES = 8


@pytest.fixture
def ground(tmp_path):
    made = PopGround(tmp_path)
    made.state.topics.put(TopicConfig("Q", QUEUES, QUEUES), NOW_MS)
    made.publish()
    return made


def online(ground, monkeypatch, *members):
    monkeypatch.setattr(ground.state.clients, "client_ids", lambda group: members if group == "G" else ())


def set_mode(ground, mode="POP", share=0, topic="Q", group="G"):
    body = {"topic": topic, "consumerGroup": group, "mode": mode, "popShareQueueNum": share}
    command = Command(RequestCode.SET_MESSAGE_REQUEST_MODE, body=fastjson.dumps(body))
    return ground.handle(command)


def assignment(ground, client="a", strategy="AVG", model="CLUSTERING", topic="Q"):
    body = {
        "topic": topic, "consumerGroup": "G", "clientId": client, "strategyName": strategy, "messageModel": model,
    }  # fmt: skip
    answer = ground.handle(Command(RequestCode.QUERY_ASSIGNMENT, body=fastjson.dumps(body)))
    assert answer.code == ResponseCode.SUCCESS
    found = orjson.loads(answer.body).get("messageQueueAssignments")
    if found is None:
        return None
    assert all(each["messageQueue"]["brokerName"] == "b" for each in found)
    return [(each["messageQueue"]["queueId"], each["mode"]) for each in found]


def queue_ids(ground, **given):
    return [queue_id for queue_id, _ in assignment(ground, **given)]


@pytest.mark.parametrize("count", range(1, 12))
def test_all_queues_are_shared_out_and_none_twice(count):
    for strategy in ("AVG", "AVG_BY_CIRCLE"):
        shares = [allocate(strategy, range(QUEUES), index, count) for index in range(count)]
        assert sorted(queue for share in shares for queue in share) == list(range(QUEUES))
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1


def test_averagely_gives_neighbours_and_by_circle_does_not():
    assert [allocate("AVG", range(QUEUES), index, 3) for index in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert allocate("AVG_BY_CIRCLE", range(QUEUES), 1, 3) == [1, 4, 7]


def test_who_pulls_gets_a_share(ground, monkeypatch):
    online(ground, monkeypatch, "b", "a")
    assert assignment(ground, "a") == [(queue_id, "PULL") for queue_id in range(4)]
    assert queue_ids(ground, client="b") == [4, 5, 6, 7]
    assert queue_ids(ground, client="b", strategy="AVG_BY_CIRCLE") == [1, 3, 5, 7]


def test_who_pops_gets_any_queue(ground, monkeypatch):
    online(ground, monkeypatch, "a", "b")
    assert set_mode(ground).code == ResponseCode.SUCCESS
    assert assignment(ground) == [(-1, "POP")]


def test_who_pops_with_a_few_shares_with_them(ground, monkeypatch):
    online(ground, monkeypatch, "a", "b", "c", "d")
    set_mode(ground, share=1)
    assert queue_ids(ground, client="a") == [0, 1, 2, 3]
    assert queue_ids(ground, client="d") == [6, 7, 0, 1]
    set_mode(ground, share=3)  # with all others
    assert queue_ids(ground) == [-1]


def test_with_fewer_queues_than_members_each_pops_one(ground, monkeypatch):
    online(ground, monkeypatch, *(f"m{number:02}" for number in range(10)))
    set_mode(ground, share=2)
    assert queue_ids(ground, client="m09") == [1]


def test_who_consumes_by_broadcast_gets_all(ground, monkeypatch):
    online(ground, monkeypatch, "a", "b")
    assert queue_ids(ground, model="BROADCASTING") == list(range(QUEUES))


def test_a_stranger_gets_nothing_and_where_nothing_is_known_nothing_is_said(ground, monkeypatch):
    assert assignment(ground) is None  # nobody is online
    online(ground, monkeypatch, "a")
    assert assignment(ground, "x") == []
    assert assignment(ground, strategy="CONFIG") is None
    assert assignment(ground, topic="none") is None


def test_the_broker_may_leave_it_alone(tmp_path):
    ground = PopGround(tmp_path, assignment_enable=False)
    assert queue_ids(ground, topic="T") == [0, 1]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"topic": "%RETRY%G"}, ResponseCode.NO_PERMISSION),
        ({"topic": "none"}, ResponseCode.TOPIC_NOT_EXIST),
        ({"mode": "SOON"}, ResponseCode.INVALID_PARAMETER),
    ],
)
def test_modes_that_cannot_be_set(ground, given, code):
    assert set_mode(ground, **given).code == code


def test_what_is_set_is_saved_and_found_again(ground):
    ground.state.modes.set(ModeSetting("Q", "G", RequestMode.POP, 2))
    assert Persist(DocumentName.REQUEST_MODES) in ground.state.effects
    document = ground.state.document(DocumentName.REQUEST_MODES, NOW_MS)
    again = SmallMetadata(ground.root, {DocumentName.REQUEST_MODES: document}, ground.tables)
    assert again.state.modes.find("Q", "G") == ground.state.modes.find("Q", "G")
    answer = ground.handle(Command(RequestCode.GET_ALL_MESSAGE_REQUEST_MODE))
    assert orjson.loads(answer.body) == document


def test_what_nobody_set_is_the_default(tmp_path):
    ground = PopGround(tmp_path, request_mode="POP", pop_share_count=3)
    modes = ground.state.modes
    assert (modes.find("T", "G").mode, modes.find("T", "G").share_count) == ("POP", 3)
    assert modes.find("%RETRY%G", "G").mode == "PULL"


def test_a_document_that_is_none_is_refused(ground):
    with pytest.raises(StoreError, match="messageRequestMode"):
        ground.state.modes.load({"messageRequestModeMap": 5})
