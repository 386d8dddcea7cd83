"""Pulls in kernels: those of real clients are served, and served as in Python."""

import pytest

from shmq.fastpath import desk
from shmq.fastpath.connections import HANDED_UP, set_flag
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.memory.endian import load_native_i64
from shmq.wire.command import Encoding
from shmq.wire.heartbeat_bodies import MessageModel, SubscriptionData
from shmq.wire.message import decode_messages
from tests.support.consumer_frames import COMMIT, SUBSCRIPTION, pull_frame
from tests.support.fast_consumers import FastBroker
from tests.support.mutated_frames import framed

# As the client of RocketMQ 5 writes it, key by key.
JAVA_HEADER = (
    b'{"code":11,"extFields":{"queueId":"0","maxMsgNums":"32","sysFlag":"6","suspendTimeoutMillis":"15000",'
    b'"commitOffset":"0","topic":"T","queueOffset":"0","expressionType":"TAG","subVersion":"5","maxMsgBytes":"2147483647",'
    b'"subscription":"*","requestSource":"-1","bname":"b","consumerGroup":"G"},"flag":0,"language":"JAVA","opaque":36,'
    b'"serializeTypeCurrentRPC":"JSON","version":475}'
)
# And that of the C++ library: numbers are numbers.
CPP_HEADER = (
    b'{"code":11,"extFields":{"commitOffset":0,"consumerGroup":"G","maxMsgNums":32,"queueId":0,"queueOffset":0,'
    b'"subVersion":5,"subscription":"*","suspendTimeoutMillis":15000,"sysFlag":6,"topic":"T"},"flag":0,'
    b'"language":"CPP","opaque":12,"serializeTypeCurrentRPC":"JSON","version":396}'
)


def fill(broker, count, **message):
    for _ in range(count):
        broker.append("T", **message)
    broker.serve_slow(pull_frame())  # maps the files


@pytest.mark.parametrize("header", [JAVA_HEADER, CPP_HEADER])
def test_the_pull_of_a_client_is_served(broker, header):
    frame = framed(header)
    assert broker.serve_fast(frame) == (DONE, [])
    fill(broker, 3, tag="a")
    assert broker.look() == [broker.serve_slow(frame)]
    assert broker.serve_fast(frame) == (DONE, [broker.serve_slow(frame)])
    assert load_native_i64(broker.desk + desk.SERVED) == 2


@pytest.mark.parametrize("encoding", list(Encoding))
def test_messages_of_several_pieces_and_files_come_in_order(tmp_path, encoding):
    broker = FastBroker(tmp_path, log_file_bytes=4096, queue_file_bytes=2000)
    broker.add_topic("T")
    broker.add_topic("Other")
    broker.add_group("G")
    broker.subscribe("G", SubscriptionData("T", version=5))
    for number in range(40):
        broker.append("T", tag="ab"[number % 2], body=b"%d" % number)
        if number % 5 == 0:
            broker.append("Other")
    frame = pull_frame(3, encoding=encoding, sysFlag=SUBSCRIPTION, subscription="b")
    slow = broker.serve_slow(frame)
    assert broker.serve_fast(frame) == (DONE, [slow])
    begin = 8 + int.from_bytes(slow[5:8], "big")
    assert [each.body for each in decode_messages(slow[begin:])] == [b"%d" % n for n in range(3, 40, 2)]
    broker.close()


def test_an_unmapped_file_is_for_python(broker):
    broker.append("T")
    assert broker.serve_fast(pull_frame()) == (SLOW, [])
    broker.serve_slow(pull_frame())
    assert broker.serve_fast(pull_frame())[0] == DONE


def test_a_log_file_that_is_gone_is_for_python(tmp_path):
    broker = FastBroker(tmp_path, log_file_bytes=4096)
    broker.add_topic("T")
    broker.add_group("G")
    broker.subscribe("G", SubscriptionData("T", version=5))
    fill(broker, 15, body=b"m" * 400)
    assert broker.serve_fast(pull_frame())[0] == DONE
    (broker.store.root / "commitlog" / f"{0:020d}").unlink()
    broker.replica.reader.forget_below(4096)
    assert broker.serve_fast(pull_frame()) == (SLOW, [])
    broker.close()


def test_an_offset_is_committed_by_the_way_and_never_out_of_turn(broker):
    broker.offsets.add(0, 0, 1)
    fill(broker, 3)
    frame = pull_frame(sysFlag=COMMIT, commitOffset=2)
    assert broker.serve_fast(frame)[0] == DONE
    assert broker.committed() == [(0, 0, 2)]
    set_flag(broker.row, HANDED_UP)
    assert broker.serve_fast(pull_frame(sysFlag=COMMIT, commitOffset=3)) == (SLOW, [])
    assert broker.serve_fast(pull_frame(sysFlag=0))[0] == DONE
    assert broker.committed() == [(0, 0, 2)]


def test_the_first_commit_is_for_python(broker):
    fill(broker, 1)
    assert broker.serve_fast(pull_frame(sysFlag=COMMIT, commitOffset=2)) == (SLOW, [])
    assert broker.committed() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": "X"}, {"consumerGroup": "X"}, {"queueId": 4}, {"queueId": -1}, {"subVersion": 6}, {"subVersion": None},
        {"queueOffset": "x"}, {"maxMsgNums": ""}, {"commitOffset": None}, {"sysFlag": "1.0"}, {"maxMsgBytes": "x"},
        {"sysFlag": SUBSCRIPTION, "expressionType": "SQL92"}, {"sysFlag": SUBSCRIPTION, "subscription": "||"},
    ],
)  # fmt: skip
def test_what_python_would_refuse_is_left_to_it(broker, changes):
    fill(broker, 1)
    assert broker.serve_fast(pull_frame(**changes)) == (SLOW, [])


class TestTables:
    """What is not plain has no row that says it is."""

    def is_served(self, broker, **changes):
        return broker.serve_fast(pull_frame(sysFlag=0, **changes))[0] == DONE

    def test_a_closed_group(self, broker):
        broker.add_group("G", consume_enable=False)
        assert not self.is_served(broker)
        broker.add_group("G")
        assert self.is_served(broker)

    def test_a_topic_that_may_not_be_read(self, broker):
        broker.add_topic("T", permission=2)
        assert not self.is_served(broker)

    def test_a_group_without_members(self, broker):
        broker.leave("G")
        assert not self.is_served(broker)
        assert broker.serve_fast(pull_frame(sysFlag=SUBSCRIPTION))[0] == DONE

    def test_a_topic_that_is_forbidden_to_the_group(self, broker):
        broker.add_group("G", forbidden=("T",))
        assert not self.is_served(broker)

    def test_broadcasting_where_it_is_not_allowed(self, broker):
        broker.add_group("G", consume_broadcast_enable=False)
        assert self.is_served(broker)
        broker.subscribe("G", SubscriptionData("T", version=5), model=MessageModel.BROADCASTING)
        assert not self.is_served(broker)

    def test_a_filter_that_is_none_of_tags(self, broker):
        broker.subscribe("G", SubscriptionData("T", "a > 1", version=5, expression_type="SQL92"))
        assert not self.is_served(broker)

    def test_a_subscription_may_come_before_its_topic_and_before_its_group(self, broker):
        broker.subscribe("Early", SubscriptionData("Later", version=5))
        assert not self.is_served(broker, topic="Later", consumerGroup="Early")
        broker.add_group("Early")
        assert not self.is_served(broker, topic="Later", consumerGroup="Early")
        broker.add_topic("Later")
        assert self.is_served(broker, topic="Later", consumerGroup="Early")

    def test_a_deleted_group_or_topic(self, broker):
        broker.delete_group("G")
        assert not self.is_served(broker)
        broker.add_group("G")
        assert self.is_served(broker)
        broker.delete_topic("T")
        assert not self.is_served(broker)

    def test_many_subscriptions_that_come_and_go(self, broker):
        topics = [f"t{number}" for number in range(60)]
        for topic in topics:
            broker.add_topic(topic, 1)
        for number in range(12):
            broker.add_group(f"g{number}")
        for turn in range(40):
            group = f"g{turn % 12}"
            wanted = topics[turn : turn + 30] if turn % 3 else []
            broker.subscribe(group, *(SubscriptionData(each, version=5) for each in wanted))
            for each in (0, turn, turn + 29):
                topic = topics[each % 60]
                assert self.is_served(broker, topic=topic, consumerGroup=group) == (topic in wanted)
        assert self.is_served(broker)


def test_while_a_reset_is_pending_python_answers(broker):
    fill(broker, 2)
    frame = pull_frame(0)
    assert broker.serve_fast(frame)[0] == DONE
    broker.offsets.reset(broker.offsets.add(0, 0, 2), 1)
    assert broker.serve_fast(frame) == (SLOW, [])
    assert b"OFFSET_RESET" in broker.serve_slow(frame)
    assert broker.serve_fast(frame)[0] == DONE


def test_what_waits_is_handed_up_where_a_reset_has_become_pending(broker):
    assert broker.serve_fast(pull_frame(0)) == (DONE, [])
    broker.offsets.reset(broker.offsets.add(0, 0, 0), 0)
    broker.append("T")
    assert broker.look() == []
    ((frame, row),) = broker.take_handed_up()
    assert row == broker.row
    assert b"OFFSET_RESET" in broker.serve_slow(frame)
