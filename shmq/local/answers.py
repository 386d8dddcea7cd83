"""What a session's senders wait to know: answers of the writer, matched with who waits for each.

The writer answers in the order of the ring, so the first that waits is the first that is told. Under
SYNC_FLUSH an answer is held until the log is on disk as far as the message.
"""

from collections import deque
from typing import NamedTuple

from shmq.broker.outcome import PutStatus
from shmq.errors import LocalError, RefusedError
from shmq.local.acknowledgement import Acknowledgement, SendResult
from shmq.store.host import Host
from shmq.wire.codes import ResponseCode

_REMARKS = {
    PutStatus.SERVICE_NOT_AVAILABLE: (
        ResponseCode.SERVICE_NOT_AVAILABLE,
        "the broker's disk is full, or its store has been shut down",
    ),
    PutStatus.MESSAGE_ILLEGAL: (ResponseCode.MESSAGE_ILLEGAL, "the broker takes no such message"),
}


class _Expected(NamedTuple):
    serial: int
    queue_id: int
    size_bytes: int
    acknowledgement: Acknowledgement


class _Stored(NamedTuple):
    end: int
    result: SendResult
    acknowledgement: Acknowledgement


class Answers:
    """Those that are waited for, in order."""

    def __init__(self) -> None:
        self._expected: deque[_Expected] = deque()
        self._stored: deque[_Stored] = deque()

    def __len__(self) -> int:
        return len(self._expected) + len(self._stored)

    @property
    def waits_for_disk(self) -> bool:
        """Whether something is stored and not yet on disk."""
        return bool(self._stored)

    def expect(self, serial: int, queue_id: int, size_bytes: int, acknowledgement: Acknowledgement) -> None:
        """Have an answer told to somebody.

        Args:
            serial: of the submission.
            queue_id: where it went.
            size_bytes: of its record.
            acknowledgement: who is told.
        """
        self._expected.append(_Expected(serial, queue_id, size_bytes, acknowledgement))

    def take(self, answers: list[tuple[int, ...]], host: Host) -> None:
        """Match answers with who waits: (serial, status, queue offset, position, store ms)."""
        for serial, status, queue_offset, position, store_ms in answers:
            expected = self._expected.popleft()
            assert expected.serial == serial, "the writer answers in order"
            if status != PutStatus.PUT_OK:
                expected.acknowledgement.settle(refusal(status))
                continue
            result = SendResult(expected.queue_id, queue_offset, position, store_ms, host)
            self._stored.append(_Stored(position + expected.size_bytes, result, expected.acknowledgement))

    def release(self, confirmed: int) -> None:
        """Tell those whose message lies below a position."""
        while self._stored and self._stored[0].end <= confirmed:
            stored = self._stored.popleft()
            stored.acknowledgement.settle(stored.result)

    def fail(self, error: LocalError) -> None:
        """Tell everybody that nothing more will come."""
        waiting = [each.acknowledgement for each in self._stored]
        waiting += [each.acknowledgement for each in self._expected]
        self._stored.clear()
        self._expected.clear()
        for acknowledgement in waiting:
            acknowledgement.settle(error)


def refusal(status: int, messages: int = 1) -> RefusedError:
    """The error for messages that the writer did not store."""
    code, remark = _REMARKS.get(
        PutStatus(status), (ResponseCode.SYSTEM_ERROR, f"the writer answered {PutStatus(status).name}")
    )
    return RefusedError(code, remark if messages == 1 else f"{messages} messages were not stored: {remark}")
