"""What becomes of a message that was sent: its place in the log, told when the writer has answered."""

from collections.abc import Callable
from typing import NamedTuple

from shmq.broker.message_ids import offset_id
from shmq.errors import LocalError
from shmq.store.host import Host


class SendResult(NamedTuple):
    """Where a message is stored.

    Attributes:
        queue_id: its queue.
        queue_offset: its number there.
        position: where its record begins in the log.
        store_ms: when the writer stored it.
        host: the broker's address, which ids carry.
    """

    queue_id: int
    queue_offset: int
    position: int
    store_ms: int
    host: Host

    @property
    def message_id(self) -> str:
        """The id by which network clients find the message."""
        return offset_id(self.host, self.position)


class Acknowledgement:
    """The promise of a SendResult: done when the writer has answered and the caller has looked.

    Answers come in during `poll`, `flush`, `result` and further sends of the same producer, all in its thread.
    """

    def __init__(self, wait: Callable[["Acknowledgement", float | None], None]) -> None:
        self._wait = wait
        self._result: SendResult | None = None
        self._error: LocalError | None = None
        self._callbacks: list[Callable[[Acknowledgement], None]] = []

    def done(self) -> bool:
        """Whether it is known."""
        return self._result is not None or self._error is not None

    def result(self, timeout: float | None = None) -> SendResult:
        """Where the message is stored, waiting for it.

        Raises:
            WaitTimeoutError: it is not known in time.
            RefusedError: the broker did not take the message.
            BrokerLostError: the broker went before it answered.
        """
        if not self.done():
            self._wait(self, timeout)
        if self._error is not None:
            raise self._error
        assert self._result is not None, "who waits returns when it is known"
        return self._result

    def exception(self, timeout: float | None = None) -> LocalError | None:
        """Why the message was not stored; None where it was."""
        if not self.done():
            self._wait(self, timeout)
        return self._error

    def add_done_callback(self, callback: Callable[["Acknowledgement"], None]) -> None:
        """Have it called with this when it is known, or at once where it is."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def settle(self, outcome: SendResult | LocalError) -> None:
        """Make it known; the producer's."""
        if isinstance(outcome, SendResult):
            self._result = outcome
        else:
            self._error = outcome
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()
