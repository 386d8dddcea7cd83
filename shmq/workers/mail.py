"""What the conductor says to network workers, and through them to clients.

Each worker has an outbox of letters, and is spoken to from its HELLO on, which tells the epoch of its life: what was
meant for an earlier life's connection is dropped here.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from shmq.broker import updates
from shmq.broker.outcome import Channel
from shmq.broker.updates import Update
from shmq.config.settings import Config
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.wire.command import Command, Encoding, encode
from shmq.workers.letters import Kind, Outbox

_OPAQUE_MASK: Final = 0x7FFF_FFFF


class Mail:
    """The outboxes of all workers, and what must be known to write to them."""

    def __init__(self, outboxes: list[Outbox]) -> None:
        self._outboxes = outboxes
        self._epochs = [0 for _ in outboxes]
        self._encodings: dict[Channel, Encoding] = {}
        self._opaque = 0

    @classmethod
    def of(cls, config: Config, memory: BrokerMemory) -> "Mail":
        """Take the rings to all workers."""
        return cls(
            [
                Outbox(
                    memory.bytes_of(f"down/{i}"),
                    memory.place(f"down/{i}"),
                    config.letter_ring_bytes,
                    memory.bell(plan.BELL_FIRST_WORKER + i),
                )
                for i in range(memory.plan.workers)
            ]
        )

    @property
    def is_everybody_told(self) -> bool:
        """Whether every worker has said hello, and so been told everything."""
        return all(self._epochs)

    @property
    def has_backlog(self) -> bool:
        """Whether a letter waits for room."""
        return any(outbox.backlog for outbox in self._outboxes)

    def flush(self) -> None:
        """Send what there is room for."""
        for outbox in self._outboxes:
            outbox.flush()

    def say_restarted(self) -> None:
        """Tell every worker that its conductor is new."""
        for outbox in self._outboxes:
            outbox.post(Kind.RESTARTED, 0)
            outbox.flush()

    def epoch(self, worker: int) -> int:
        """Return which life a worker has said hello in; 0 before that."""
        return self._epochs[worker]

    def channel(self, worker: int, connection: int) -> Channel:
        """Name a connection of a worker in its present life."""
        return Channel(worker, self._epochs[worker], connection)

    def welcome(self, worker: int, epoch: int, snapshot: Iterable[Update]) -> None:
        """Tell a new worker everything."""
        if epoch != self._epochs[worker]:
            self._encodings = {c: e for c, e in self._encodings.items() if c.worker != worker}
        self._epochs[worker] = epoch
        outbox = self._outboxes[worker]
        outbox.post(Kind.WELCOME, epoch)
        for update in snapshot:
            outbox.post(Kind.UPDATE, 0, [updates.encode(update)])
        outbox.post(Kind.COMPLETE, 0)

    def publish(self, update: Update) -> None:
        """Bring the replica of every worker up to date."""
        self._tell_all(Kind.UPDATE, 0, [updates.encode(update)])

    def tell_trimmed(self, trimmed: int) -> None:
        """Have the workers let go of files of the log below a position, and of their queues."""
        self._tell_all(Kind.TRIMMED, trimmed)

    def answer(self, worker: int, kind: Kind, serial: int, pieces: Sequence[bytes] = ()) -> None:
        """Answer what a worker asked under a serial."""
        self._outboxes[worker].post(kind, serial, pieces)

    def note_encoding(self, channel: Channel, encoding: Encoding) -> None:
        """Note how a client writes its headers: it is written to in the same way."""
        self._encodings[channel] = encoding

    def forget(self, channel: Channel) -> None:
        """Forget a connection that is closed."""
        self._encodings.pop(channel, None)

    def push(self, channel: Channel, command: Command) -> int | None:
        """Send a request of the broker's own to a client; return its opaque, or None where the worker's life is over."""
        if channel.epoch != self._epochs[channel.worker]:
            return None
        self._opaque = (self._opaque + 1) & _OPAQUE_MASK
        command.opaque = self._opaque
        command.encoding = self._encodings.get(channel, Encoding.JSON)
        self._outboxes[channel.worker].post(Kind.PUSH, channel.connection, [encode(command)])
        return self._opaque

    def close(self, channel: Channel, reason: bytes) -> None:
        """Have a connection closed."""
        if channel.epoch == self._epochs[channel.worker]:
            self._outboxes[channel.worker].post(Kind.CLOSE, channel.connection, [reason])

    def _tell_all(self, kind: Kind, tag: int, pieces: Sequence[bytes] = ()) -> None:
        for worker, outbox in enumerate(self._outboxes):
            if self._epochs[worker]:
                outbox.post(kind, tag, pieces)
