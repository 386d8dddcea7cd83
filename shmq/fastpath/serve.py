"""Kernel: serve a frame, or leave it to Python. The index of the fast path."""

from typing import Final

from shmq.fastpath import desk
from shmq.fastpath.offsets import query_offset, update_offset
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.parsing import parse
from shmq.fastpath.pulling import pull
from shmq.fastpath.request import CODE
from shmq.fastpath.sending import send
from shmq.jit import kernel_apart
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.wire.codes import RequestCode

_SEND_MESSAGE_V2: Final = int(RequestCode.SEND_MESSAGE_V2)
_SEND_BATCH_MESSAGE: Final = int(RequestCode.SEND_BATCH_MESSAGE)
_PULL_MESSAGE: Final = int(RequestCode.PULL_MESSAGE)
_LITE_PULL_MESSAGE: Final = int(RequestCode.LITE_PULL_MESSAGE)
_QUERY_CONSUMER_OFFSET: Final = int(RequestCode.QUERY_CONSUMER_OFFSET)
_UPDATE_CONSUMER_OFFSET: Final = int(RequestCode.UPDATE_CONSUMER_OFFSET)


@kernel_apart
def serve(at_desk: int, row: int, frame: int, frame_bytes: int) -> int:
    """Serve a whole frame that lies at an address, its two length words included; DONE or SLOW."""
    request = load_native_i64(at_desk + desk.REQUEST)
    if not parse(request, frame, frame_bytes):
        return SLOW
    code = load_native_i64(request + CODE)
    outcome = SLOW
    if code in (_SEND_MESSAGE_V2, _SEND_BATCH_MESSAGE):
        outcome = send(at_desk, row, request)
    elif code in (_PULL_MESSAGE, _LITE_PULL_MESSAGE):
        outcome = pull(at_desk, row, request, frame, frame_bytes)
    elif code == _UPDATE_CONSUMER_OFFSET:
        outcome = update_offset(at_desk, row, request)
    elif code == _QUERY_CONSUMER_OFFSET:
        outcome = query_offset(at_desk, row, request)
    if outcome == DONE:
        store_native_i64(at_desk + desk.SERVED, load_native_i64(at_desk + desk.SERVED) + 1)
    return outcome
