"""Answers to what the writer refuses, written beforehand but for the request's number.

A row for each status and encoding, at `2 * status + encoding`: address and length of the header's bytes before the
number, and of those behind it. They are what `broker.sending` refuses with, encoded by `wire.command` itself. The
kernel `send_answers.answer_refused` puts them together.
"""

from typing import Final

import numpy as np

from shmq.broker.outcome import PutStatus
from shmq.broker.replica import Replica
from shmq.broker.sending import refuse_unstored
from shmq.errors import RequestError
from shmq.fastpath.send_answers import REFUSAL_WORDS, STATUS_COUNT, STATUS_OTHER
from shmq.jit import Bytes, Words
from shmq.memory.block import address_of
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command, Encoding, encode
from shmq.wire.frame import PREFIX_BYTES

_JSON_NUMBER: Final = b'"opaque":0,'
_BINARY_NUMBER_AT: Final = 5
_BINARY_NUMBER_BYTES: Final = 4


class Refusals:
    """The rows, and the bytes that they point to.

    Attributes:
        address: of the first row.
    """

    def __init__(self, replica: Replica) -> None:
        self._rows: Words = np.zeros((2 * STATUS_COUNT, REFUSAL_WORDS), dtype=np.int64)
        self._texts: list[Bytes] = []
        self.address = address_of(self._rows)
        for status in range(STATUS_COUNT):
            for encoding in Encoding:
                before, behind = _halves(replica, status, encoding)
                row = *self._keep(before), *self._keep(behind)
                self._rows[2 * status + encoding] = row

    def _keep(self, text: bytes) -> tuple[int, int]:
        kept = np.frombuffer(text, dtype=np.uint8)
        self._texts.append(kept)
        return address_of(kept), len(text)


def _halves(replica: Replica, status: int, encoding: Encoding) -> tuple[bytes, bytes]:
    """Return a refusal's header before and behind the request's number."""
    header = encode(_refusal(replica, status, encoding))[PREFIX_BYTES:]
    if encoding == Encoding.ROCKETMQ:
        return header[:_BINARY_NUMBER_AT], header[_BINARY_NUMBER_AT + _BINARY_NUMBER_BYTES :]
    assert header.count(_JSON_NUMBER) == 1, "no other part of a refusal looks like its number"
    at = header.index(_JSON_NUMBER) + len(_JSON_NUMBER) - 2
    return header[:at], header[at + 1 :]


def _refusal(replica: Replica, status: int, encoding: Encoding) -> Command:
    try:
        refuse_unstored(replica, PutStatus(status))
    except KeyError:  # the writer refuses nothing with it
        return _refusal(replica, STATUS_OTHER, encoding)
    except RequestError as error:
        asked = Command(code=0, opaque=0, encoding=encoding)
        return asked.reply(ResponseCode(error.code), error.remark, error.fields)
