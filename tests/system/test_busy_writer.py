"""A writer that stands still: producers are told at once, and when it moves on nothing that was acknowledged is missing."""

import os
import signal
from collections.abc import Iterator

import pytest

from shmq.wire.codes import ResponseCode
from tests.support.remote import Remote, send_request
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

BUSY_MS = 200


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    """A broker that finds its writer busy soon."""
    started = ShmqBroker(
        tmp_path_factory.mktemp("broker"), settings={"writer_busy_ms_max": BUSY_MS, "network_workers": 1}
    )
    try:
        yield started
        started.stop()
    finally:
        started.discard()


@pytest.mark.parametrize("is_fast", [True, False], ids=["kernels", "python"])
def test_sends_are_refused_while_the_writer_stands_still_and_taken_when_it_moves(
    broker: ShmqBroker, *, is_fast: bool
) -> None:
    topic = f"busy-{is_fast}"
    properties = "UNIQ_KEY\x01%d\x02" if is_fast else "DELAY\x01%d\x02"
    with Remote(broker.address) as producer, Remote(broker.address) as early:
        assert producer.send(topic, b"first").code == ResponseCode.SUCCESS
        writer = broker.worker("writer")
        os.kill(writer.pid, signal.SIGSTOP)
        waiting = early.post(send_request(topic, b"early", 0, "UNIQ_KEY\x01early\x02"))
        refused: list[str] = []
        sent: list[int] = []

        def is_refused() -> bool:
            number = producer.post(send_request(topic, b"late", 0, properties % len(sent)))
            sent.append(number)
            producer.socket.settimeout(0.05)
            try:
                answer = producer.answer_to(number)
            except TimeoutError:
                return False
            finally:
                producer.socket.settimeout(20)
            assert answer.code == ResponseCode.SYSTEM_BUSY
            refused.append(answer.remark or "")
            return True

        eventually(is_refused)
        assert refused[-1].startswith("[REJECTREQUEST]system busy")
        assert producer.pull(topic, 0, 0).code == ResponseCode.SUCCESS, "consumers are served meanwhile"
        os.kill(writer.pid, signal.SIGCONT)
        assert early.answer_to(waiting).code == ResponseCode.SUCCESS
        with Remote(broker.address) as fresh:
            eventually(lambda: fresh.send(topic, b"after").code == ResponseCode.SUCCESS)
            bodies = [each.body for each in fresh.read_queue(topic, 0, 3)]
    assert bodies[:2] == [b"first", b"early"]
    assert bodies.count(b"after") >= 1
    assert bodies.count(b"late") <= len(sent) - len(refused), "what was refused is not stored"


def test_a_writer_that_is_killed_is_waited_for(broker: ShmqBroker) -> None:
    with Remote(broker.address) as producer:
        for number in range(20):
            if number == 10:
                broker.worker("writer").kill()
            assert producer.send("waited-for", b"%d" % number).code == ResponseCode.SUCCESS
        assert len(producer.read_queue("waited-for", 0, 20)) == 20
