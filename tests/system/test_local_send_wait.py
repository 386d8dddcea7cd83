"""`send_wait`: its builtin, and every case in which Python has to go on where the builtin stopped."""

import sys
import threading

import pytest

from shmq.errors import RefusedError, SessionMisuseError
from shmq.local import desk
from shmq.local.acknowledgement import SendResult
from shmq.local.producer import LocalProducer
from tests.support.shmq_process import ShmqBroker

SETTINGS = {"network_workers": 1, "local_sessions_max": 4, "commit_log_file_bytes": "16MiB"}
NO_SUCH_SLOT = 1 << 30


@pytest.fixture(scope="module", params=["ASYNC_FLUSH", "SYNC_FLUSH"])
def broker(tmp_path_factory, request):
    settings = {**SETTINGS, "flush_disk_type": request.param}
    started = ShmqBroker(tmp_path_factory.mktemp("wait"), settings=settings)
    try:
        yield started
        started.stop()
    finally:
        started.discard()


@pytest.fixture
def producer(broker):
    with LocalProducer(broker.broker_name, "waited-for", queue_id=0) as made:
        yield made


def test_the_result_is_where_the_message_is_confirmed(producer):
    first = producer.send_wait(b"one")
    second = producer.send_wait(b"two")
    third = producer.send(b"three", ack=True).result(10)
    assert {type(first), type(second)} == {SendResult}
    assert [each.queue_offset - first.queue_offset for each in (first, second, third)] == [0, 1, 2]
    assert third.position - second.position >= second.position - first.position > 0
    assert first[4] is third.host is producer.session.host
    assert first.message_id != second.message_id
    assert producer.session.attachment.memory.watermarks.confirmed > third.position


def test_results_hold_nothing_longer_than_they_live(producer):
    host = producer.session.host
    before = sys.getrefcount(host)
    for _ in range(1000):
        producer.send_wait(b"x")
    assert sys.getrefcount(host) - before < 10


def test_what_the_writer_refuses_is_raised_once(producer):
    producer.send_wait(b"before")
    slots = producer._outgoing._queues.slots
    slot = int(slots[0])
    slots[0] = NO_SUCH_SLOT
    with pytest.raises(RefusedError, match="takes no such message"):
        producer.send_wait(b"refused")
    slots[0] = slot
    producer.send_wait(b"after")
    producer.flush()  # which would raise what nobody was told


@pytest.mark.parametrize("body", [b"", bytes(64 * 1024 * 1024), "text", None])
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(producer, body):
    offset = producer.send_wait(b"before").queue_offset
    with pytest.raises((RefusedError, TypeError)):
        producer.send_wait(body)
    assert producer.send_wait(b"after").queue_offset == offset + 1


def test_other_bytes_and_a_timeout_are_taken(producer):
    offset = producer.send_wait(bytearray(b"x"), 10).queue_offset
    assert producer.send_wait(memoryview(b"y"), timeout=10).queue_offset == offset + 1


def test_a_call_broken_off_before_its_answer_is_not_taken_for_the_next_one(producer):
    offset = producer.send_wait(b"before").queue_offset
    producer.claim(10)
    producer._template.words[desk.IS_UNTOLD // 8] = 1
    with pytest.raises(SessionMisuseError, match="claim"):
        producer.send_wait(b"not now")
    producer.abort()
    producer._template.words[desk.IS_UNTOLD // 8] = 1
    assert producer.send_wait(b"after").queue_offset == offset + 1


def test_another_threads_call_is_refused(producer):
    caught = []

    def call():
        try:
            producer.send_wait(b"not mine")
        except SessionMisuseError as error:
            caught.append(error)

    offset = producer.send_wait(b"before").queue_offset
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert producer.send_wait(b"after").queue_offset == offset + 1


def test_an_answer_that_takes_longer_than_the_spins_is_waited_for(producer):
    producer.session.words[desk.SPINS // 8] = 0
    first = producer.send_wait(b"one")
    assert producer.send_wait(b"two").queue_offset == first.queue_offset + 1
