"""Two processes and what lies between them: one produces, one consumes, a third asks them to.

Both ends are processes of their own, started anew for a contestant and kept for all its turns, since opening and
compiling are no part of a turn. Jobs:

    send       so many messages as fast as they go; the turn ends when the consumer has them all
    acknowledged
               so many at a fixed rate, each waited for before the next; latencies count from the planned times
    paced      so many at a fixed rate, each at its planned time whatever became of the one before; a body carries
               that time, and the consumer's latencies count from it: a stall delays all that were due meanwhile

Garbage collection is off in both: a collection of one of them would be blamed on the carrier.
"""

import contextlib
import gc
import os
import struct
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import numpy as np

from perf.colocated_peers import SPAWN, Peer
from perf.harness import Figures, Measured
from perf.histogram import Histogram

LEAD_NS: Final = 20_000_000
"""How far ahead the first message of a paced job is planned."""
REPLY_DEADLINE_S: Final = 300.0

_STAMP: Final = struct.Struct("<q")
_NS: Final = 1_000_000_000

clock = time.monotonic_ns


class Producer(Protocol):
    """A sending end, in its process."""

    def send_all(self, count: int) -> None:
        """Send so many messages as fast as they go."""

    def send_paced(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:
        """Send so many, each at its planned time; return how late they were sent."""

    def send_acknowledged(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:
        """Send so many, each at its planned time, and wait for its acknowledgement; return how long that took."""

    def close(self) -> None:
        """Close it."""


class Consumer(Protocol):
    """A receiving end, in its process."""

    def receive_all(self, count: int) -> None:
        """Return when so many were received."""

    def receive_stamped(self, count: int) -> Histogram:
        """Receive so many that carry their planned time; return how long ago that was when each was received."""

    def close(self) -> None:
        """Close it."""


class Carrier(Protocol):
    """What is between the processes; it is handed to both when they start."""

    @property
    def body_bytes(self) -> int:
        """The length of each body."""

    def open_producer(self) -> Producer:
        """Open the sending end."""

    def open_consumer(self) -> Consumer:
        """Open the receiving end."""

    def close(self) -> None:
        """Take away what outlives the processes."""


class PeerCarrier:
    """A peer as a carrier: messages go through its calls one by one."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    @property
    def body_bytes(self) -> int:
        """As the peer's."""
        return self.peer.body_bytes

    def open_producer(self) -> Producer:
        """Its sending end."""
        return _PeerProducer(self.peer)

    def open_consumer(self) -> Consumer:
        """Its receiving end."""
        return _PeerConsumer(self.peer)

    def close(self) -> None:
        """As the peer's."""
        self.peer.close()


class _PeerProducer:
    def __init__(self, peer: Peer) -> None:
        self._peer, self._send = peer, peer.producer()

    def send_all(self, count: int) -> None:
        send, batch = self._send, self._peer.batch
        # Each is an object of its own: pickle writes one that it has seen before as a reference.
        bodies = [number.to_bytes(2, "little").ljust(self._peer.body_bytes, b"b") for number in range(batch)]
        if batch == 1:
            body = bodies[0]
            for _ in range(count):
                send(body)
            return
        message = self._peer.message
        for _ in range(count // batch):
            send(message(bodies))

    def send_paced(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:
        send, rest = self._send, bytes(self._peer.body_bytes - _STAMP.size)
        return paced(lambda stamp: send(stamp + rest), begin_ns, interval_ns, count)

    def send_acknowledged(self, begin_ns: int, interval_ns: int, count: int) -> Histogram:  # noqa: ARG002
        raise AssertionError(f"{self._peer.name} acknowledges nothing")

    def close(self) -> None:
        del self._send
        self._peer.close_end()


class _PeerConsumer:
    def __init__(self, peer: Peer) -> None:
        self._peer, self._receive = peer, peer.consumer()

    def receive_all(self, count: int) -> None:
        receive, batch = self._receive, self._peer.batch
        if batch == 1:
            for _ in range(count):
                receive()
            return
        bodies = self._peer.bodies
        for _ in range(count // batch):
            bodies(receive())

    def receive_stamped(self, count: int) -> Histogram:
        receive, bodies, unpack = self._receive, self._peer.bodies, _STAMP.unpack_from
        latencies: list[int] = []
        note = latencies.append
        for _ in range(count):
            received = receive()
            now_ns = clock()
            note(now_ns - unpack(bodies(received)[0])[0])
        return counted(latencies)

    def close(self) -> None:
        del self._receive
        self._peer.close_end()


def paced(send: Callable[[bytes], Any], begin_ns: int, interval_ns: int, count: int) -> Histogram:
    """Send stamped messages by a plan, letting others have the core meanwhile; return how late they were sent."""
    pack, give_way = _STAMP.pack, os.sched_yield
    late: list[int] = []
    note = late.append
    for planned_ns in range(begin_ns, begin_ns + count * interval_ns, interval_ns):
        now_ns = clock()
        while now_ns < planned_ns:
            give_way()
            now_ns = clock()
        send(pack(planned_ns))
        note(now_ns - planned_ns)
    return counted(late)


def counted(latencies_ns: list[int]) -> Histogram:
    """Latencies as a histogram."""
    histogram = Histogram()
    histogram.record_all(np.array(latencies_ns, dtype=np.int64))
    return histogram


class Pair:
    """Producers and a consumer of one carrier, running and idle."""

    def __init__(self, carrier: Carrier, producers: int = 1, *, consumes: bool = True) -> None:
        self._carrier = carrier
        self._producers = [_End(_produce, carrier, f"producer-{number}") for number in range(producers)]
        self._consumer = _End(_consume, carrier, "consumer") if consumes else None
        for end in self._ends():
            end.hear()  # it is open

    def send(self, messages: int) -> Measured:
        """Send so many messages in all; where there is a consumer, until it has them."""
        each = messages // len(self._producers)
        told = self._tell_all("send", each, {})
        end_ns = max(heard["end_ns"] for heard in told)
        begin_ns = min(heard["begin_ns"] for heard in told[: len(self._producers)])
        return Measured(
            {
                "messages/s": each * len(self._producers) / (end_ns - begin_ns) * _NS,
                **self._load_cpu(told, each * len(self._producers)),
            }
        )

    def paced(self, rate: float, messages: int) -> Measured:
        """Send so many at a fixed rate; return latencies from the planned times."""
        assert self._consumer is not None
        assert len(self._producers) == 1
        plan = {"begin_ns": clock() + LEAD_NS, "interval_ns": int(_NS / rate)}
        sent, received = self._tell_all("paced", messages, plan)
        latencies, late = received["histogram"], sent["histogram"]
        figures = {
            "messages/s": messages / (received["end_ns"] - plan["begin_ns"]) * _NS,
            **latencies.percentiles_us(),
            **late.percentiles_us("sent late "),
            **self._load_cpu([sent, received], messages),
        }
        return Measured(figures, {"end to end": latencies, "sent late": late})

    def acknowledged(self, rate: float, messages: int) -> Measured:
        """Send so many at a fixed rate, and wait for each; return latencies from the planned times."""
        assert len(self._ends()) == 1
        plan = {"begin_ns": clock() + LEAD_NS, "interval_ns": int(_NS / rate)}
        (sent,) = self._tell_all("acknowledged", messages, plan)
        latencies = sent["histogram"]
        figures = {
            "messages/s": messages / (sent["end_ns"] - plan["begin_ns"]) * _NS,
            **latencies.percentiles_us(),
            **self._load_cpu([sent], messages),
        }
        return Measured(figures, {"acknowledged": latencies})

    def close(self) -> None:
        """End the processes."""
        for end in self._ends():
            end.close()
        self._carrier.close()

    def _tell_all(self, job: str, count: int, arguments: dict[str, int]) -> list[dict[str, Any]]:
        if self._consumer is not None:
            self._consumer.tell(job, count * len(self._producers), {})
        for producer in self._producers:
            producer.tell(job, count, arguments)
        return [end.hear() for end in self._ends()]

    def _ends(self) -> list["_End"]:
        return [*self._producers, *([self._consumer] if self._consumer else [])]

    @staticmethod
    def _load_cpu(told: list[dict[str, Any]], messages: int) -> Figures:
        return {"load CPU s/million messages": sum(heard["cpu_seconds"] for heard in told) / messages * 1e6}


@contextlib.contextmanager
def pair(carrier: Carrier, producers: int = 1, *, consumes: bool = True) -> Iterator[Pair]:
    """A pair that ends with its block."""
    made = Pair(carrier, producers, consumes=consumes)
    try:
        yield made
    finally:
        made.close()


class _End:
    """One of the processes, seen from the third."""

    def __init__(self, run: Callable[[Carrier, Connection], None], carrier: Carrier, name: str) -> None:
        self._control, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=run, args=(carrier, theirs), name=name, daemon=True)
        self._process.start()
        theirs.close()

    def tell(self, job: str, count: int, arguments: dict[str, int]) -> None:
        self._control.send((job, count, arguments))

    def hear(self) -> dict[str, Any]:
        if not self._control.poll(REPLY_DEADLINE_S):
            raise TimeoutError(f"{self._process.name} does not answer")
        heard: dict[str, Any] = self._control.recv()
        return heard

    def close(self) -> None:
        self._control.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _produce(carrier: Carrier, control: Connection) -> None:
    producer = carrier.open_producer()
    jobs: dict[str, Callable[..., Any]] = {
        "send": producer.send_all,
        "paced": producer.send_paced,
        "acknowledged": producer.send_acknowledged,
    }
    _serve(control, jobs)
    producer.close()


def _consume(carrier: Carrier, control: Connection) -> None:
    consumer = carrier.open_consumer()
    _serve(control, {"send": consumer.receive_all, "paced": consumer.receive_stamped})
    consumer.close()


def _serve(control: Connection, jobs: dict[str, Callable[..., Any]]) -> None:
    """Do what is asked until nobody asks any more."""
    Histogram().record_all([0])  # compiles
    gc.freeze()
    gc.disable()
    control.send({})
    with contextlib.suppress(EOFError):
        while True:
            job, count, arguments = control.recv()
            cpu_begin, begin_ns = time.process_time(), clock()
            result = jobs[job](count=count, **arguments)
            end_ns = clock()
            answer = {"begin_ns": begin_ns, "end_ns": end_ns, "cpu_seconds": time.process_time() - cpu_begin}
            gc.collect()
            control.send(answer | {"histogram": result})
