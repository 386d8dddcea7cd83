"""Who carries messages between two processes of a machine, beside shmq: nobody here keeps a message.

Each peer is made before its two processes are, and is then opened at either end. What an end gives is a callable
that takes or returns one message of bytes, as near to the peer's own call as can be: the suite must not slow it down.
A peer takes batches where `batch` is above 1: so many bodies back to back in one message, or a list of them where it
pickles anyway.

    pyzmq           PUSH to PULL over ipc://
    mp.Queue        multiprocessing.Queue: pickles, a feeder thread, a pipe
    mp.Pipe         multiprocessing.Pipe: send_bytes over a socket pair
    POSIX mq        posix_ipc.MessageQueue: the kernel's, 10 messages of 8 KiB deep unless root has raised the bounds
    iceoryx2        publish-subscribe in shared memory: one copy in, none out, waits by spinning; the bound for all
                    that keep nothing
"""

import ctypes
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import iceoryx2
import posix_ipc
import zmq

from perf.colocated_names import ICEORYX2, PIPE, POSIX_MQ, PYZMQ, QUEUE

SPAWN: Final = multiprocessing.get_context("spawn")

_SHARED_MEMORY: Final = Path("/dev/shm")

Send = Callable[[Any], Any]
Receive = Callable[[], Any]

_HIGH_WATER_MESSAGES: Final = 100_000
_MQ_MESSAGE_BYTES_MAX: Final = 8192
_MQ_MESSAGES_MAX: Final = 10
_RING_MESSAGES: Final = 4096
_RING_BYTES_MAX: Final = 1 << 24


class Peer:
    """One peer with messages of one size.

    Attributes:
        name: as it appears in the figures.
        body_bytes: the length of each body.
        batch: how many bodies one message carries.
    """

    name = ""
    message_bytes_max = 1 << 30

    def __init__(self, body_bytes: int, batch: int = 1) -> None:
        self.body_bytes, self.batch = body_bytes, batch
        self.unique = f"shmq-perf-{os.getpid()}-{time.monotonic_ns()}"

    @property
    def title(self) -> str:
        """Its name, and how it is used."""
        return self.name if self.batch == 1 else f"{self.name}, by {self.batch}"

    @property
    def message_bytes(self) -> int:
        """The length of one message of the peer's."""
        return self.body_bytes * self.batch

    def message(self, bodies: list[bytes]) -> Any:
        """What carries these bodies."""
        return bodies[0] if self.batch == 1 else b"".join(bodies)

    def bodies(self, received: Any) -> list[Any]:
        """The bodies of what was received, as bytes or a view."""
        if self.batch == 1:
            return [received]
        size = self.body_bytes
        return [received[at : at + size] for at in range(0, len(received), size)]

    def producer(self) -> Send:
        """Open the sending end, in its process."""
        raise AssertionError("each peer has its own")

    def consumer(self) -> Receive:
        """Open the receiving end, in its process."""
        raise AssertionError("each peer has its own")

    def close_end(self) -> None:
        """Close what `producer` or `consumer` opened, in that process."""

    def close(self) -> None:
        """Take away what outlives the two processes."""


class Pyzmq(Peer):
    """ZeroMQ by a Unix domain socket of the abstract namespace."""

    name = PYZMQ

    def producer(self) -> Send:
        """A bound PUSH socket."""
        self._socket = self._open(zmq.PUSH, zmq.SNDHWM)
        self._socket.bind(f"ipc://@{self.unique}")
        return self._socket.send

    def consumer(self) -> Receive:
        """A connected PULL socket."""
        self._socket = self._open(zmq.PULL, zmq.RCVHWM)
        self._socket.connect(f"ipc://@{self.unique}")
        return self._socket.recv

    def _open(self, kind: int, high_water: int) -> "zmq.Socket[bytes]":
        self._context = zmq.Context()
        opened = self._context.socket(kind)
        opened.setsockopt(high_water, _HIGH_WATER_MESSAGES)
        opened.setsockopt(zmq.LINGER, 0)
        return opened


class MpQueue(Peer):
    """multiprocessing.Queue."""

    name = QUEUE

    def __init__(self, body_bytes: int, batch: int = 1) -> None:
        super().__init__(body_bytes, batch)
        self._queue: Any = SPAWN.Queue()

    def message(self, bodies: list[bytes]) -> Any:
        """A list, which is what one would put."""
        return bodies[0] if self.batch == 1 else bodies

    def bodies(self, received: Any) -> list[Any]:
        """The list."""
        return [received] if self.batch == 1 else received

    def producer(self) -> Send:
        """Its put."""
        send: Send = self._queue.put
        return send

    def consumer(self) -> Receive:
        """Its get."""
        receive: Receive = self._queue.get
        return receive

    def close(self) -> None:
        """Give its descriptors back."""
        self._queue.close()


class MpPipe(Peer):
    """multiprocessing.Pipe, one way."""

    name = PIPE

    def __init__(self, body_bytes: int, batch: int = 1) -> None:
        super().__init__(body_bytes, batch)
        ends: tuple[Connection, Connection] = SPAWN.Pipe(duplex=False)
        self._reader, self._writer = ends

    def producer(self) -> Send:
        """Its send_bytes: no pickle."""
        return self._writer.send_bytes

    def consumer(self) -> Receive:
        """Its recv_bytes."""
        return self._reader.recv_bytes

    def close(self) -> None:
        """Give its descriptors back."""
        self._reader.close()
        self._writer.close()


class PosixMq(Peer):
    """A POSIX message queue with the depth that a user may have."""

    name = POSIX_MQ
    message_bytes_max = _MQ_MESSAGE_BYTES_MAX

    def producer(self) -> Send:
        """Its send."""
        return self._open().send  # type: ignore[no-any-return]

    def consumer(self) -> Receive:
        """Its receive; priorities come with the messages."""
        return self._open().receive  # type: ignore[no-any-return]

    def bodies(self, received: Any) -> list[Any]:
        """Without the priority."""
        return super().bodies(received[0])

    def close(self) -> None:
        """Remove its name."""
        posix_ipc.unlink_message_queue(f"/{self.unique}")

    def _open(self) -> Any:
        return posix_ipc.MessageQueue(
            f"/{self.unique}",
            posix_ipc.O_CREAT,
            max_messages=_MQ_MESSAGES_MAX,
            max_message_size=max(self.message_bytes, 64),
        )


class Iceoryx2(Peer):
    """iceoryx2: the publisher waits where the subscriber's buffer is full."""

    name = ICEORYX2

    def __init__(self, body_bytes: int, batch: int = 1) -> None:
        super().__init__(body_bytes, batch)
        self._folder = Path(tempfile.gettempdir()) / self.unique

    def producer(self) -> Send:
        """Loan a sample, copy into it, send it."""
        size = self.message_bytes
        publisher = (
            self._service()
            .publisher_builder()
            .backpressure_strategy(iceoryx2.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        self._kept = publisher
        loan, move = publisher.loan_uninit, ctypes.memmove

        def send(message: bytes) -> None:
            sample = loan()
            move(sample.payload_ptr, message, size)
            sample.assume_init().send()

        return send

    def consumer(self) -> Receive:
        """Spin for a sample; copy its bytes out, as all the others do."""
        size = self.message_bytes
        subscriber = self._service().subscriber_builder().create()
        self._kept = subscriber
        take, copy_out = subscriber.receive, ctypes.string_at

        def receive() -> bytes:
            sample = take()
            while sample is None:
                sample = take()
            return copy_out(sample.payload_ptr, size)

        return receive

    def close_end(self) -> None:
        """Drop port, then service, then node: each has files of its own."""
        self._kept.delete()
        del self._kept, self._port_factory
        del self._node

    def close(self) -> None:
        """Remove the files that it keeps for all of a machine, here of this prefix alone."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for segment in _SHARED_MEMORY.glob(f"{self.unique}*"):
            segment.unlink()

    def _service(self) -> Any:
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        config = iceoryx2.config.default()
        config.global_cfg.prefix = iceoryx2.FileName.new(self.unique)
        config.global_cfg.root_path = iceoryx2.Path.new(str(self._folder))
        self._node = iceoryx2.NodeBuilder.new().config(config).create(iceoryx2.ServiceType.Ipc)
        depth = max(2, min(_RING_MESSAGES, _RING_BYTES_MAX // self.message_bytes))
        self._port_factory = (
            self._node.service_builder(iceoryx2.ServiceName.new(self.unique))
            .publish_subscribe(ctypes.c_uint8 * self.message_bytes)
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(depth)
            .open_or_create()
        )
        return self._port_factory


PEERS: Final[tuple[type[Peer], ...]] = (Pyzmq, MpQueue, MpPipe, PosixMq, Iceoryx2)
