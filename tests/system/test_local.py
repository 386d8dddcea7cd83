"""Colocated producers and consumers against a real broker: interop, death, restart, rows and rings given back."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shmq.errors import (
    BrokerAbsentError,
    BrokerLostError,
    NoRoomError,
    RefusedError,
    SessionMisuseError,
)
from shmq.local.consumer import LocalConsumer
from shmq.local.producer import LocalProducer
from shmq.local.session import Session
from shmq.shared import local_sessions
from shmq.shared.local_sessions import ATTACHED, FREE
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "network_workers": 1,
    "local_sessions_max": 4,
    "commit_log_file_bytes": "16MiB",
    "consume_queue_file_bytes": 20 * 1000,
}
BURST = """
import sys
from shmq.local.producer import LocalProducer
producer = LocalProducer(sys.argv[1], "killed", queue_id=0, keys=sys.argv[2])
number = 0
while True:
    result = producer.send_wait(b"%s/%d" % (sys.argv[2].encode(), number))
    print(number, result.queue_offset, flush=True)
    number += 1
    producer.send_many([b"burst"] * 200)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    started = ShmqBroker(tmp_path_factory.mktemp("local"), settings=SETTINGS)
    try:
        yield started
        started.stop()
    finally:
        started.discard()


@pytest.fixture
def own_broker(tmp_path):
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    try:
        yield started
    finally:
        started.discard()


def states(session):
    table = session.attachment.memory.sessions
    return Counter(table.state(each) for each in range(table.count))


def read_all(consumer, count):
    found = []
    while len(found) < count:
        batch = consumer.poll(100_000, timeout=30)
        assert len(batch), f"{len(found)} of {count} came"
        found += [bytes(body) for body in batch.bodies()]
    return found


def test_a_network_client_sees_what_a_local_producer_sends(broker):
    with LocalProducer(broker.broker_name, "to-net", queue_id=0, tags="A", keys="k1") as producer:
        result = producer.send_wait(b"one")
        producer.send(b"two", properties={"who": "me"}, tags="B")
        producer.flush("dispatched", 30)
    with Remote(broker.address) as remote:
        read = remote.read_queue("to-net", 0, 2)
    assert [bytes(each.body) for each in read] == [b"one", b"two"]
    assert [each.queue_offset for each in read] == [result.queue_offset, 1]


def test_a_local_consumer_sees_what_a_network_client_sends(broker):
    with Remote(broker.address) as remote:
        for body in (b"a", b"b"):
            assert remote.send("from-net", body, 0, "TAGS\x01A\x02").code == 0
    with LocalConsumer(broker.broker_name, "g-net", "from-net") as consumer:
        messages = list(consumer.poll(10, timeout=30))
    assert [each.body for each in messages] == [b"a", b"b"]
    assert [(each.queue_id, each.queue_offset, each.tags) for each in messages] == [(0, 0, "A"), (0, 1, "A")]


def test_every_way_to_send_arrives_once_and_in_order(broker):
    expected = [b"%05d" % number for number in range(2000)]
    rows = np.frombuffer(b"".join(expected[1000:1500]), dtype=np.uint8).reshape(500, 5)
    ragged = np.frombuffer(b"".join(expected[1500:1990]), dtype=np.uint8)
    with LocalProducer(broker.broker_name, "ways", queue_id=1) as producer:
        for body in expected[:500]:
            producer.send(body)
        assert producer.send_many(expected[500:1000]) == 500
        assert producer.send_array(rows) == 500
        assert producer.send_array(ragged, range(0, 5 * 490 + 1, 5)) == 490
        for body in expected[1990:1995]:
            producer.claim(5)[:] = body
            producer.commit()
        producer.claim(7)
        producer.abort()
        told = []
        for body in expected[1995:1999]:
            producer.send(bytearray(body), callback=lambda each: told.append(each.result().queue_offset))
        last = producer.send(expected[1999], ack=True)
        assert last.result(30).queue_offset == 1999
        assert told == [1995, 1996, 1997, 1998]
        producer.flush(timeout=30)
    with LocalConsumer(broker.broker_name, "g-ways", "ways", queues=(1,)) as consumer:
        assert read_all(consumer, 2000) == expected


def test_messages_without_a_queue_go_to_each_in_turn_and_those_of_a_key_to_one(broker):
    with LocalProducer(broker.broker_name, "turns") as producer:
        queues = {producer.send_wait(b"x").queue_id for _ in range(producer.queue_count)}
        keyed = {producer.send(b"y", key="same", ack=True).result(30).queue_id for _ in range(10)}
    assert queues == set(range(producer.queue_count))
    assert len(keyed) == 1


def test_tags_are_told_apart_by_their_text_and_not_by_their_hash_alone(broker):
    with LocalProducer(broker.broker_name, "tags", queue_id=0) as producer:
        for tags in ("Aa", "BB", "C"):  # Java gives the first two one hash
            producer.send(tags.encode(), tags=tags)
        producer.flush("dispatched", 30)
    with LocalConsumer(broker.broker_name, "g-tags", "tags", tags="BB || C") as consumer:
        assert [bytes(each) for each in consumer.poll(10, timeout=30).bodies()] == [b"BB", b"C"]


def test_committed_offsets_are_the_groups_on_either_way(broker):
    with LocalProducer(broker.broker_name, "shared", queue_id=0) as producer:
        producer.send_many([b"%d" % number for number in range(10)])
        producer.flush("dispatched", 30)
    with LocalConsumer(broker.broker_name, "g-shared", "shared", queues=(0,)) as consumer:
        assert consumer.committed(0) is None
        assert len(consumer.poll(4, timeout=30)) == 4
        consumer.commit()
    with LocalConsumer(broker.broker_name, "g-shared", "shared", queues=(0,)) as consumer:
        assert consumer.committed(0) == consumer.position(0) == 4
        assert len(consumer.poll(100, timeout=30)) == 6
    with LocalConsumer(broker.broker_name, "g-shared", "shared", queues=(0,), from_="latest") as consumer:
        assert len(consumer.poll(100)) == 0


def test_columns_and_the_matrix_are_views_of_the_same_messages(broker):
    sent = np.arange(1000, dtype=np.int64).reshape(500, 2)
    with LocalProducer(broker.broker_name, "matrix", queue_id=0) as producer:
        producer.send_array(sent)
        producer.flush("dispatched", 30)
    with LocalConsumer(broker.broker_name, "g-matrix", "matrix", queues=(0,)) as consumer:
        batch = consumer.poll(500, timeout=30)
        assert np.array_equal(batch.matrix().copy().view(np.int64), sent)
        assert batch.queue_offsets.tolist() == list(range(500))
        assert set(batch.body_sizes.tolist()) == {16}
        assert (np.diff(batch.positions) > 0).all()
        with pytest.raises((TypeError, ValueError)):
            batch.bodies()[0][0] = 1


def test_a_waiting_consumer_is_woken_by_a_message(broker):
    with LocalProducer(broker.broker_name, "woken", queue_id=0) as producer:
        found = []

        def consume():
            with LocalConsumer(broker.broker_name, "g-woken", "woken", queues=(0,)) as consumer:
                ready.set()
                found.extend(bytes(each) for each in consumer.poll(10, timeout=60).bodies())

        ready = threading.Event()
        thread = threading.Thread(target=consume)
        thread.start()
        assert ready.wait(60)
        producer.send(b"wake")
        thread.join(60)
        assert found == [b"wake"]


@pytest.mark.parametrize("wait", ["spin", "yield", "sleep", "futex"])
def test_each_way_to_wait_gets_its_answer(broker, wait):
    with LocalProducer(broker.broker_name, "waits", wait=wait) as producer:
        assert producer.send(b"x", ack=True).result(30).position >= 0
        producer.flush("dispatched", 30)


def test_what_cannot_be_sent_is_refused(broker):
    with LocalProducer(broker.broker_name, "refused") as producer:
        for body in (b"", b"x" * (3 << 20)):
            with pytest.raises(RefusedError, match="a body has 1 to"):
                producer.send(body)
        with pytest.raises(TypeError):
            producer.send("text")
        with pytest.raises(RefusedError, match="not for a local producer"):
            producer.send(b"x", properties={"DELAY": "3"})
        with pytest.raises(ValueError, match="there is no 99"):
            producer.send(b"x", queue_id=99)
    with pytest.raises(RefusedError, match="illegal characters"):
        LocalProducer(broker.broker_name, "no topic")
    with pytest.raises(RefusedError, match="not exist"):
        LocalConsumer(broker.broker_name, "g", "never-made")


def test_a_session_is_one_threads_and_does_not_survive_a_fork(broker):
    with LocalProducer(broker.broker_name, "owned") as producer:
        failures = []

        def misuse():
            for call in (lambda: producer.send(b"x"), lambda: producer.send_many([b"x"]), producer.flush):
                try:
                    call()
                except SessionMisuseError as error:
                    failures.append(str(error))

        thread = threading.Thread(target=misuse)
        thread.start()
        thread.join()
        assert len(failures) == 3
        child = os.fork()
        if child == 0:
            failures.clear()
            misuse()
            os._exit(len(failures))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        producer.send_wait(b"still ours")
        producer.claim(3)
        with pytest.raises(SessionMisuseError, match="claim is open"):
            producer.send(b"x")
        producer.abort()
        producer.send(b"x")
    with pytest.raises(SessionMisuseError, match="closed"):
        producer.send(b"x")


def test_sessions_end_where_the_setting_says_and_cost_nothing_when_they_are_free(broker):
    def taken_bytes():
        return broker.segments()[0].stat().st_blocks * 512

    with Session(broker.broker_name) as watcher:
        eventually(lambda: states(watcher)[ATTACHED] == 1 and states(watcher)[FREE] == 3)
        before = taken_bytes()
        others = [Session(broker.broker_name) for _ in range(3)]
        assert taken_bytes() > before + 3 * (4 << 20)
        with pytest.raises(NoRoomError, match="all 4 local sessions"):
            Session(broker.broker_name)
        for other in others:
            other.close()
        eventually(lambda: states(watcher)[FREE] == 3)
        assert taken_bytes() <= before + 4096 * 8


def test_producers_killed_under_load_leave_nothing_behind(broker):
    acknowledged = []
    with Session(broker.broker_name) as watcher:
        for round_number in range(20):
            command = [sys.executable, "-c", BURST, broker.broker_name, f"r{round_number}"]
            producer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            for _ in range(1 + round_number % 5):
                number, queue_offset = producer.stdout.readline().split()
                acknowledged.append((f"r{round_number}/{number}".encode(), int(queue_offset)))
            producer.send_signal(signal.SIGKILL)
            producer.wait()
            producer.stdout.close()
        eventually(lambda: states(watcher)[FREE] == 3)
    with LocalProducer(broker.broker_name, "killed", queue_id=0) as producer:
        end = producer.send_wait(b"end").queue_offset
        producer.flush("dispatched", 30)
    with LocalConsumer(broker.broker_name, "g-killed", "killed", queues=(0,), from_="earliest") as consumer:
        bodies = read_all(consumer, end + 1)
    assert len(bodies) == end + 1
    for body, queue_offset in acknowledged:
        assert bodies[queue_offset] == body
    marked = [body for body in bodies if body.startswith(b"r")]
    assert len(marked) == len(set(marked))


@pytest.mark.parametrize("victim", ["writer", "dispatcher", "conductor"])
def test_a_process_of_the_broker_killed_under_local_load_loses_and_doubles_nothing(own_broker, victim):
    with LocalProducer(own_broker.broker_name, "load", queue_id=0) as producer:
        sent = 0
        for _ in range(3):
            for _ in range(200):
                producer.send_many([b"%08d" % (sent + each) for each in range(100)])
                sent += 100
            before = own_broker.worker(victim)
            os.kill(before.pid, signal.SIGKILL)
            for _ in range(200):
                producer.send_many([b"%08d" % (sent + each) for each in range(100)])
                sent += 100
            producer.flush("dispatched", 60)
            eventually(lambda before=before: own_broker.worker(victim).pid != before.pid)
        assert LocalProducer(producer.session, "made-after").send_wait(b"x").queue_offset == 0
    with LocalConsumer(own_broker.broker_name, "g-load", "load", queues=(0,), from_="earliest") as consumer:
        assert read_all(consumer, sent) == [b"%08d" % number for number in range(sent)]
    own_broker.stop()


def test_a_producer_goes_on_when_its_broker_comes_back(tmp_path):
    first = ShmqBroker(tmp_path / "one", settings=SETTINGS, store_root=tmp_path / "store")
    try:
        producer = LocalProducer(first.broker_name, "again", queue_id=0)
        consumer = LocalConsumer(first.broker_name, "g-again", "again", queues=(0,))
        assert producer.send_wait(b"before").queue_offset == 0
        assert len(consumer.poll(10, timeout=30)) == 1
        stubborn = LocalProducer(first.broker_name, "again", reattach=False)
        first.stop()
        with pytest.raises(BrokerAbsentError):
            stubborn.send(b"x")
        with pytest.raises(BrokerAbsentError, match="no broker named"):
            LocalProducer(first.broker_name, "again")
        second = ShmqBroker(
            tmp_path / "two", settings=SETTINGS, store_root=tmp_path / "store", broker_name=first.broker_name
        )
        try:
            producer.send(b"after")
            assert producer.send_wait(b"end").queue_offset == 2
            assert read_all(consumer, 2) == [b"after", b"end"]
            producer.close()
            consumer.close()
            second.stop()
        finally:
            second.discard()
    finally:
        first.discard()


def test_what_was_in_flight_when_the_broker_died_is_said_to_be_unknown(own_broker):
    producer = LocalProducer(own_broker.broker_name, "lost", wait="futex")
    writer = own_broker.worker("writer")
    os.kill(writer.pid, signal.SIGSTOP)
    acknowledgement = producer.send(b"x", ack=True)
    producer.send_many([b"y"] * 10)
    own_broker.kill()
    with pytest.raises(BrokerLostError) as caught:
        producer.flush(timeout=30)
    assert caught.value.in_flight == 11
    with pytest.raises(BrokerLostError):
        acknowledgement.result(0)
    producer.close()


def test_a_session_cannot_write_to_what_is_not_its_own(broker):
    program = """
import sys
from shmq.local.session import Session
from shmq.memory.words import store_word
session = Session(sys.argv[1])
store_word(session.attachment.memory.place("watermarks"), 7)
"""
    ended = subprocess.run([sys.executable, "-c", program, broker.broker_name], check=False)
    assert ended.returncode == -signal.SIGSEGV


def test_nonsense_in_a_ring_harms_only_its_own_session(broker):
    program = """
import sys
from shmq.local import desk as d
from shmq.local.producer import LocalProducer
from shmq.memory.words import store_word
from shmq.ring import header
producer = LocalProducer(sys.argv[1], "nonsense")
producer.send_wait(b"x")
ring = producer.session.words[d.RING // 8]
word = {"produced": header.PRODUCED, "capacity": header.CAPACITY, "consumed": header.CONSUMED}[sys.argv[2]]
store_word(ring + word, int(sys.argv[3]))
completions = producer.session.words[d.COMPLETIONS // 8]
store_word(completions + word, int(sys.argv[3]))
producer.session.attachment.memory.sessions.bell
from shmq.shared import plan
from shmq.ring.doorbell import ring_bell
ring_bell(producer.session.attachment.memory.bell(plan.BELL_WRITER))
"""
    pids = {each.pid for each in broker.workers()}
    with LocalProducer(broker.broker_name, "sane", queue_id=0) as sane:
        for word in ("produced", "capacity", "consumed"):
            for value in (0, -8, 1 << 40, (1 << 62) + 8):
                subprocess.run(
                    [sys.executable, "-c", program, broker.broker_name, word, str(value)], check=True
                )
                sane.send_wait(b"still served")
        sane.flush("dispatched", 30)
        eventually(lambda: states(sane.session)[FREE] == 3)
    assert {each.pid for each in broker.workers()} == pids, "no process of the broker died of it"


def test_the_label_of_a_session_says_what_it_is(broker):
    with LocalProducer(broker.broker_name, "labelled") as producer:
        row = producer.session.attachment.memory.sessions.row(producer.session.attachment.session)
        label = producer.session.attachment.memory.read(row + local_sessions.LABEL, 64).rstrip(b"\0")
    assert label.startswith(b"producer of labelled pid %d" % os.getpid())


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "local.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_page_run(broker, number):
    program = f"BROKER = {broker.broker_name!r}\n{EXAMPLES[number]}"
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr


def test_an_absent_broker_is_named():
    with pytest.raises(BrokerAbsentError, match="no broker named 'nobody-has-this-name'"):
        LocalProducer("nobody-has-this-name", "x")
