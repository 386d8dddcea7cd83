"""`shmq produce` and `shmq consume` as processes, and the clients behind them, against a running broker."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import orjson
import pytest

from shmq.client.async_consumer import AsyncPullConsumer
from shmq.client.async_producer import AsyncProducer
from shmq.client.consumer import PullConsumer
from shmq.client.message import Message
from shmq.client.producer import Producer
from shmq.client.pulling import ConsumerSettings
from shmq.client.sending import ProducerSettings
from tests.support.processes import Process
from tests.support.shmq_process import ShmqBroker

_SHMQ: Final = Path(sys.executable).parent / "shmq"
_DEADLINE_S: Final = 60.0
_topics: Final = itertools.count()


@pytest.fixture
def topic() -> str:
    """A topic of this test alone."""
    return f"commands-{os.getpid()}-{next(_topics)}"


def shmq(broker: ShmqBroker, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, as a user would."""
    return subprocess.run(
        [_SHMQ, *arguments],
        input=given,
        env={**os.environ, "NAMESRV_ADDR": broker.namesrv_address},
        capture_output=True,
        timeout=_DEADLINE_S,
        check=False,
    )


def lines(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def in_order(printed: bytes) -> list[int]:
    return sorted(int(line) for line in printed.splitlines())


def test_ten_thousand_lines_come_back_once_each(shared_broker: ShmqBroker, topic: str) -> None:
    produced = shmq(shared_broker, "produce", topic, given=lines(10_000))
    assert (produced.returncode, produced.stderr) == (0, b"sent 10000 messages to %s\n" % topic.encode())
    consumed = shmq(shared_broker, "consume", topic, "--from-beginning")
    assert (consumed.returncode, consumed.stderr) == (0, b"")
    assert in_order(consumed.stdout) == list(range(10_000))


def test_a_group_goes_on_where_it_was(shared_broker: ShmqBroker, topic: str) -> None:
    shmq(shared_broker, "produce", topic, given=lines(100))
    group = f"{topic}-readers"
    first = shmq(shared_broker, "consume", topic, "--from-beginning", "--group", group, "--count", "30")
    rest = shmq(shared_broker, "consume", topic, "--group", group)
    nothing = shmq(shared_broker, "consume", topic, "--group", group)
    assert len(first.stdout.splitlines()) == 30
    assert in_order(first.stdout + rest.stdout) == list(range(100))
    assert (nothing.returncode, nothing.stdout) == (0, b"")


def test_keys_tags_and_large_bodies_arrive(shared_broker: ShmqBroker, topic: str) -> None:
    body = "ä" * 100_000
    shmq(shared_broker, "produce", topic, "-t", "Large", "-k", "k1 k2", given=body.encode())
    shmq(shared_broker, "produce", topic, "-t", "Small", "--body", "small")
    large = shmq(shared_broker, "consume", topic, "--from-beginning", "-t", "Large", "--format", "json")
    told = orjson.loads(large.stdout)
    assert (told["body"], told["tag"], told["keys"]) == (body, "Large", ["k1", "k2"])
    assert told["broker"] == shared_broker.broker_name


def test_following_prints_what_comes_until_it_is_interrupted(
    shared_broker: ShmqBroker, topic: str, tmp_path: Path
) -> None:
    with (
        Producer(shared_broker.namesrv_address) as producer,
        Process(
            [_SHMQ, "consume", topic, "--follow", "--from-beginning"],
            log_path=tmp_path / "consume.log",
            environment={"NAMESRV_ADDR": shared_broker.namesrv_address},
        ) as following,
    ):
        for number in range(20):
            producer.send(Message(topic, b"%d" % number))
            following.wait_line(lambda line, wanted=str(number): line == wanted, _DEADLINE_S)
        following.signal(signal.SIGINT)
        assert following.wait_exit(_DEADLINE_S) == 0


def test_a_topic_that_does_not_exist_is_one_line(shared_broker: ShmqBroker, topic: str) -> None:
    consumed = shmq(shared_broker, "consume", topic, "--from-beginning")
    assert consumed.returncode == 1
    assert consumed.stderr.startswith(b"error: the topic %s has no route: " % topic.encode())
    assert consumed.stderr.count(b"\n") == 1


def test_thousands_of_sends_at_once_are_read_back(shared_broker: ShmqBroker, topic: str) -> None:
    wanted = {b"%d" % number for number in range(3000)}

    async def produce_and_read() -> list[bytes]:
        settings = ConsumerSettings(group=f"{topic}-readers", from_beginning=True)
        async with (
            AsyncProducer(shared_broker.namesrv_address, ProducerSettings(timeout_s=_DEADLINE_S)) as producer,
            AsyncPullConsumer(topic, shared_broker.namesrv_address, settings) as consumer,
        ):
            await asyncio.gather(*(producer.send(Message(topic, body)) for body in wanted))
            consumer.stop_at(await consumer.ends())
            bodies: list[bytes] = []
            while not consumer.is_at_end:
                bodies += [delivery.body for delivery in await consumer.poll(_DEADLINE_S)]
            return bodies

    assert sorted(asyncio.run(produce_and_read())) == sorted(wanted)


def test_a_held_pull_is_woken_by_a_message(shared_broker: ShmqBroker, topic: str) -> None:
    with (
        Producer(shared_broker.namesrv_address) as producer,
        PullConsumer(topic, shared_broker.namesrv_address, ConsumerSettings(from_beginning=True)) as consumer,
    ):
        producer.send(Message(topic, b"first"))
        for body in (b"first", b"second", b"third"):
            (found,) = consumer.poll(_DEADLINE_S)
            assert found.body == body
            following = {b"first": b"second", b"second": b"third"}.get(body)
            if following is not None:
                assert consumer.poll(0.0) == []  # leaves a pull of every queue with the broker
                producer.send(Message(topic, following))


def test_a_batch_gets_consecutive_offsets_of_one_queue(shared_broker: ShmqBroker, topic: str) -> None:
    with Producer(shared_broker.namesrv_address) as producer:
        producer.send(Message(topic, b"first"))
        result = producer.send_batch([Message(topic, b"%d" % number) for number in range(10)])
    with PullConsumer(
        topic, shared_broker.namesrv_address, ConsumerSettings(from_beginning=True)
    ) as consumer:
        consumer.stop_at(consumer.ends())
        found = []
        while not consumer.is_at_end:
            found += [each for each in consumer.poll(_DEADLINE_S) if each.body != b"first"]
    assert [(each.queue, each.queue_offset, each.body) for each in found] == [
        (result.queue, result.queue_offset + number, b"%d" % number) for number in range(10)
    ]
