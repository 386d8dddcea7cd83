"""Pulls that wait in kernels."""

import numpy as np
import pytest

from shmq.fastpath import connections, desk, request
from shmq.fastpath.connections import set_flag
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.parked import NEVER_MS, forget_row, look_at_parked, next_deadline_ms, parked_count
from shmq.fastpath.parked_rows import ParkedRows, Wait, drop_handed_up, park
from shmq.fastpath.tags import ALL
from shmq.memory.block import address_of
from shmq.memory.endian import store_native_i64
from shmq.memory.words import store_word
from shmq.store.queue_table import format_queue_table, max_address, queue_table_bytes
from shmq.store.watermarks import DISPATCHED
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Encoding, decode
from shmq.wire.frame import FrameReader
from shmq.wire.heartbeat_bodies import SubscriptionData
from tests.support.consumer_frames import COMMIT, SUBSCRIPTION, SUSPEND, pull_frame
from tests.support.fast_consumers import FastBroker, Waiting
from tests.support.small_broker import NOW_MS

QUEUE_FILE_ENTRIES = 10


def commands(frames):
    return [decode(FrameReader().feed(frame)[0]) for frame in frames]


def test_nothing_waits_at_first(broker):
    assert parked_count(broker.desk) == 0
    assert next_deadline_ms(broker.desk) == NEVER_MS
    assert broker.look() == []


def test_a_pull_waits_until_its_queue_grows(broker):
    assert broker.serve_fast(pull_frame()) == (DONE, [])
    assert broker.look() == []
    assert parked_count(broker.desk) == 1
    assert next_deadline_ms(broker.desk) == NOW_MS + 15000
    broker.append("T", 1)
    assert broker.look() == []
    broker.append("T", 0)
    broker.serve_slow(pull_frame())  # maps the files
    (answer,) = commands(broker.look())
    assert (answer.code, answer.remark, answer.opaque) == (ResponseCode.SUCCESS, "FOUND", 9)
    assert parked_count(broker.desk) == 0


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_pull_waits_no_longer_than_its_client_says(broker, encoding):
    broker.serve_fast(pull_frame(encoding=encoding, suspendTimeoutMillis=100))
    broker.serve_fast(pull_frame(opaque=10, encoding=encoding, suspendTimeoutMillis=50))
    broker.set_clock(NOW_MS + 49)
    assert broker.look() == []
    broker.set_clock(NOW_MS + 50)
    assert [each.opaque for each in commands(broker.look())] == [10]
    broker.set_clock(NOW_MS + 1000)
    (answer,) = commands(broker.look())
    assert (answer.opaque, answer.code) == (9, ResponseCode.PULL_NOT_FOUND)


def test_what_does_not_match_is_told_when_the_time_is_over(broker):
    broker.append("T", tag="a")
    broker.serve_slow(pull_frame())
    frame = pull_frame(1, sysFlag=SUSPEND | SUBSCRIPTION, subscription="b")
    assert broker.serve_fast(frame) == (DONE, [])
    broker.append("T", tag="a")
    assert broker.look() == []
    assert parked_count(broker.desk) == 1
    broker.set_clock(NOW_MS + 15000)
    (answer,) = commands(broker.look())
    assert (answer.code, answer.remark) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
    assert answer.fields["nextBeginOffset"] == "2"


def test_another_subscription_looks_at_everything_again(broker):
    broker.append("T", tag="a")
    broker.subscribe("G", SubscriptionData("T", "b", version=5))
    broker.serve_slow(pull_frame())
    assert broker.serve_fast(pull_frame(1)) == (DONE, [])
    broker.append("T", tag="a")
    assert broker.look() == []
    broker.subscribe("G", SubscriptionData("T", "a", version=6))
    broker.append("T", tag="b")
    (answer,) = commands(broker.look())
    assert (answer.code, answer.fields["nextBeginOffset"]) == (ResponseCode.SUCCESS, "3")


def test_a_large_burst_that_does_not_match_is_walked_through_at_once(broker):
    frame = pull_frame(1, sysFlag=SUSPEND | SUBSCRIPTION, subscription="b")
    broker.append("T", tag="a")
    broker.serve_slow(pull_frame())
    assert broker.serve_fast(frame) == (DONE, [])
    for _ in range(QUEUE_FILE_ENTRIES - 2):
        broker.append("T", tag="a")
    assert broker.look() == []
    broker.append("T", tag="b")
    (answer,) = commands(broker.look())
    assert answer.fields["nextBeginOffset"] == str(QUEUE_FILE_ENTRIES)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_what_is_handed_up_waits_for_the_rest_of_its_time_and_commits_nothing(broker, encoding):
    broker.offsets.add(0, 0, 1)
    assert broker.serve_fast(pull_frame(encoding=encoding, sysFlag=SUSPEND | COMMIT, commitOffset=3)) == (
        DONE,
        [],
    )
    assert broker.committed() == [(0, 0, 3)]
    broker.offsets.add(0, 0, 8)
    broker.set_clock(NOW_MS + 14_950)
    broker.append("T", 0)
    assert broker.look() == []  # its file is not mapped
    assert parked_count(broker.desk) == 0
    ((frame, row),) = broker.take_handed_up()
    assert row == broker.row
    command = decode(FrameReader().feed(frame)[0])
    assert int(command.fields["suspendTimeoutMillis"]) == 50
    assert command.fields["sysFlag"] == str(SUSPEND)
    (answer,) = commands([broker.serve_slow(frame)])
    assert answer.code == ResponseCode.SUCCESS
    assert broker.committed() == [(0, 0, 8)]


def test_the_time_left_is_written_over_a_bare_number(broker):
    frame = pull_frame(suspendTimeoutMillis=15000).replace(b'"15000"', b"\n 15000")
    assert broker.serve_fast(frame) == (DONE, [])
    broker.subscribe("G")
    broker.set_clock(NOW_MS + 14_993)
    broker.append("T", 0)
    broker.look()
    ((frame, _),) = broker.take_handed_up()
    assert decode(FrameReader().feed(frame)[0]).fields["suspendTimeoutMillis"] == "7"


def test_a_closed_connection_takes_its_pulls_with_it(broker):
    other = np.zeros(connections.SIZE, dtype=np.uint8)
    store_native_i64(address_of(other) + connections.FLAGS, connections.OPEN)
    for queue_id in (0, 1, 1, 2):
        broker.serve_fast(pull_frame(queueId=queue_id))
    mine, broker.row = broker.row, address_of(other)
    broker.serve_fast(pull_frame(opaque=11, queueId=1))
    forget_row(broker.desk, mine)
    assert parked_count(broker.desk) == 1
    broker.append("T", 1)
    broker.serve_slow(pull_frame(queueId=1))
    assert [each.opaque for each in commands(broker.look())] == [11]
    assert parked_count(broker.desk) == 0
    broker.row = mine


def test_where_there_is_no_room_python_lets_them_wait(tmp_path):
    broker = FastBroker(tmp_path, pulls_max=2)
    broker.add_topic("T")
    broker.add_group("G")
    broker.subscribe("G", SubscriptionData("T", version=5))
    assert [broker.serve_fast(pull_frame())[0] for _ in range(3)] == [DONE, DONE, SLOW]
    forget_row(broker.desk, broker.row)
    assert broker.serve_fast(pull_frame())[0] == DONE
    broker.close()


def test_what_python_would_not_let_wait_does_not_wait_here(broker):
    assert isinstance(broker.serve_slow(pull_frame()), Waiting)
    assert broker.serve_fast(pull_frame(flag=2)) == (SLOW, [])
    assert broker.serve_fast(pull_frame(sysFlag=-1)) == (SLOW, [])
    assert broker.serve_fast(pull_frame(sysFlag=0)) == (DONE, [broker.serve_slow(pull_frame(sysFlag=0))])
    set_flag(broker.row, connections.VIP)
    assert broker.serve_fast(pull_frame()) == (SLOW, [])


def test_many_pulls_in_any_order(tmp_path):
    """The chains of queues, owners and deadlines hold while pulls of all of them come and go."""
    chance = np.random.default_rng(7)
    broker = FastBroker(tmp_path, pulls_max=200)
    broker.add_topic("T", 8)
    broker.add_group("G")
    broker.subscribe("G", SubscriptionData("T", version=5))
    for queue_id in range(8):
        broker.append("T", queue_id)
        broker.serve_slow(pull_frame(queueId=queue_id))
    newest = [1] * 8
    waiting = {}
    for opaque in range(1500):
        queue_id = int(chance.integers(8))
        deadline_ms = int(chance.integers(1, 200))
        frame = pull_frame(
            newest[queue_id], opaque=opaque, queueId=queue_id, suspendTimeoutMillis=deadline_ms
        )
        if newest[queue_id] < QUEUE_FILE_ENTRIES and len(waiting) < 200:
            assert broker.serve_fast(frame) == (DONE, [])
            waiting[opaque] = queue_id, broker.now_ms + deadline_ms
        expected = set()
        if opaque % 40 == 39 and newest[queue_id] < QUEUE_FILE_ENTRIES:
            broker.append("T", queue_id)
            newest[queue_id] += 1
            expected |= {each for each, (queue, _) in waiting.items() if queue == queue_id}
        broker.set_clock(broker.now_ms + int(chance.integers(3)))
        expected |= {each for each, (_, until_ms) in waiting.items() if until_ms <= broker.now_ms}
        assert {each.opaque for each in commands(broker.look())} == expected
        for each in expected:
            del waiting[each]
        assert parked_count(broker.desk) == len(waiting)
        if waiting:
            assert next_deadline_ms(broker.desk) == min(until_ms for _, until_ms in waiting.values())
    assert not broker.take_handed_up()
    broker.close()


def test_thousands_of_queues_are_looked_at_once_a_millisecond():
    queues = 4100
    memory = np.zeros(queue_table_bytes(queues), dtype=np.uint8)
    format_queue_table(memory, queues)
    words, row, marks = (np.zeros(1024, dtype=np.uint8) for _ in range(3))
    at_desk, at_row, frame = address_of(words), address_of(row), np.zeros(64, dtype=np.uint8)
    parked = ParkedRows(at_desk, queues, queues)
    store_native_i64(at_desk + desk.QUEUES, address_of(memory))
    store_native_i64(at_desk + desk.WATERMARKS, address_of(marks))
    store_native_i64(at_desk + desk.NOW_MS, NOW_MS)
    for slot in range(queues):
        assert park(at_desk, at_row, Wait(slot, 0, NOW_MS + 100, 0, ALL), address_of(frame), 64) != 0
    assert look_at_parked(at_desk) == 0
    assert next_deadline_ms(at_desk) == NOW_MS + 100
    store_word(max_address(address_of(memory), 7), 1)
    store_word(address_of(marks) + DISPATCHED, 1)
    assert look_at_parked(at_desk) == 0  # one look was in this millisecond
    assert next_deadline_ms(at_desk) == NOW_MS + 1
    store_native_i64(at_desk + desk.NOW_MS, NOW_MS + 1)
    parsed = np.zeros(request.SIZE, dtype=np.uint8)
    store_native_i64(at_desk + desk.REQUEST, address_of(parsed))
    assert look_at_parked(at_desk) == 1  # what is no frame is handed up
    assert parked_count(at_desk) == queues - 1
    drop_handed_up(at_desk)
    forget_row(at_desk, at_row)
    assert parked_count(at_desk) == 0
    del parked  # it had to outlive the calls
