"""shmq between two processes: `shmq.local` as a carrier of `perf/colocated_pair.py`.

The producing end sends by one of the producer's calls, and has sent when all of it is dispatched: committed to the log
and in the consume queues. Each end opens its own session, in its own process.
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from perf.colocated_pair import Consumer, Producer, clock, counted, paced
from perf.histogram import Histogram
from shmq.local.consumer import LocalConsumer
from shmq.local.producer import LocalProducer
from shmq.local.session import Session
from shmq.local.waiting import Wait

SEND: Final = "send()"
SEND_MANY: Final = "send_many"
SEND_ARRAY: Final = "send_array"
SEND_DURABLE: Final = "send_array and flush"

LIST_MESSAGES: Final = 1024
ARRAY_BYTES: Final = 1 << 18
FLUSH_TIMEOUT_S: Final = 120.0
GROUP: Final = "perf-colocated"
POLL_MESSAGES: Final = 4096
POLL_TIMEOUT_S: Final = 10.0

_STAMP: Final = struct.Struct("<q")


@dataclass(frozen=True)
class ShmqCarrier:
    """A broker of this host.

    Attributes:
        broker: its name.
        topics: where to send; who sends goes through all of them, array by array.
        body_bytes: of each message.
        call: of the producer's, SEND, SEND_MANY, SEND_ARRAY or SEND_DURABLE.
        wait: how both ends wait.
        group: of SEND_DURABLE, how many messages wait for the disk together.
    """

    broker: str
    topics: tuple[str, ...]
    body_bytes: int
    call: str = SEND
    wait: str = Wait.FUTEX
    group: int = 1

    def open_producer(self) -> Producer:
        """A session with a producer for each topic."""
        return _ShmqProducer(self)

    def open_consumer(self) -> Consumer:
        """A consumer of the first topic, from here on."""
        return _ShmqConsumer(self)

    def close(self) -> None:
        """Nothing outlives the sessions."""


class _ShmqProducer:
    def __init__(self, carrier: ShmqCarrier) -> None:
        self._carrier = carrier
        self._session = Session(carrier.broker, wait=carrier.wait, what="benchmark")
        self._producers = [
            LocalProducer(self._session, topic, send_timeout_s=FLUSH_TIMEOUT_S) for topic in carrier.topics
        ]

    def send_all(self, count: int) -> None:
        match self._carrier.call:
            case "send()":
                self._send_each(count)
            case "send_many":
                self._send_lists(count)
            case "send_array and flush":
                self._send_durably(count)
            case _:
                self._send_arrays(count)
        self._producers[0].flush("dispatched", FLUSH_TIMEOUT_S)

    def send_paced(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:
        send, rest = self._producers[0].send, bytes(self._carrier.body_bytes - 8)
        return paced(lambda stamp: send(stamp + rest), begin_ns, interval_ns, count)

    def send_acknowledged(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:
        """Send each at its planned time and wait until it is stored; return how long after that time it was."""
        send_wait, body = self._producers[0].send_wait, bytes(self._carrier.body_bytes)
        latencies: list[int] = []
        note = latencies.append
        for planned_ns in range(begin_ns, begin_ns + count * interval_ns, interval_ns):
            while clock() < planned_ns:
                pass
            send_wait(body)
            note(clock() - planned_ns)
        return counted(latencies)

    def close(self) -> None:
        for producer in self._producers:
            producer.close()
        self._session.close()

    def _send_each(self, count: int) -> None:
        send, body = self._producers[0].send, bytes(self._carrier.body_bytes)
        for _ in range(count):
            send(body)

    def _send_lists(self, count: int) -> None:
        size = self._carrier.body_bytes
        messages = max(1, min(LIST_MESSAGES, ARRAY_BYTES // size, count))
        bodies = [number.to_bytes(2, "little").ljust(size, b"b") for number in range(messages)]
        sends = [producer.send_many for producer in self._producers]
        for turn in range(count // messages):
            sends[turn % len(sends)](bodies)
        sends[0](bodies[: count % messages])

    def _send_durably(self, count: int) -> None:
        rows = np.zeros((self._carrier.group, self._carrier.body_bytes), dtype=np.uint8)
        producer = self._producers[0]
        for _ in range(count // len(rows)):
            producer.send_array(rows)
            producer.flush("flushed", FLUSH_TIMEOUT_S)

    def _send_arrays(self, count: int) -> None:
        size = self._carrier.body_bytes
        messages = max(1, min(ARRAY_BYTES // size, count))
        rows = np.zeros((messages, size), dtype=np.uint8)
        sends = [producer.send_array for producer in self._producers]
        for turn in range(count // messages):
            sends[turn % len(sends)](rows)
        sends[0](rows[: count % messages])


class _ShmqConsumer:
    def __init__(self, carrier: ShmqCarrier) -> None:
        self._consumer = LocalConsumer(
            carrier.broker, GROUP, carrier.topics[0], from_="latest", wait=carrier.wait
        )

    def receive_all(self, count: int) -> None:
        left = count
        while left > 0:
            left -= self._poll()[0]

    def receive_stamped(self, count: int) -> Histogram:
        unpack = _STAMP.unpack_from
        latencies: list[int] = []
        while len(latencies) < count:
            _, now_ns, bodies = self._poll()
            latencies += [now_ns - unpack(body)[0] for body in bodies]
        return counted(latencies)

    def close(self) -> None:
        self._consumer.close()

    def _poll(self) -> tuple[int, int, list[memoryview]]:
        """How many messages have come, when, and their bodies, each a view of its own."""
        batch = self._consumer.poll(POLL_MESSAGES, POLL_TIMEOUT_S)
        now_ns = clock()
        if len(batch) == 0:
            raise TimeoutError(f"no message came in {POLL_TIMEOUT_S} s")
        return len(batch), now_ns, list(batch.bodies())
