"""Kernel: whether the properties of a sent message are plain, and the two that the broker heeds.

Plain are properties whose text goes into the record as it came: every pair with a name and a value, no name twice,
none that asks for something (a delay, a transaction) or that the broker writes itself. It may lack its last byte.
"""

from typing import Final, NamedTuple

from shmq.fastpath.request import ABSENT, is_true
from shmq.jit import kernel
from shmq.memory.endian import load_native_i64, load_u8
from shmq.memory.lanes import LANES, bytes_up_to, lowest_bit
from shmq.store.position import NONE
from shmq.store.properties import NAME_END, VALUE_END, find


class Properties(NamedTuple):
    """What a send needs to know.

    Attributes:
        is_plain: without it the rest means nothing.
        is_open: the last pair lacks its end.
        waits: whether the producer wants to know that the message is safe.
        key: where the unique key lies.
        key_bytes: its length, or ABSENT.
    """

    is_plain: bool
    is_open: bool
    waits: bool
    key: int
    key_bytes: int


def _word(name: bytes) -> int:
    return int.from_bytes(name, "little")


_UNIQUE_KEY: Final = _word(b"UNIQ_KEY")
_WAIT: Final = _word(b"WAIT")
# The first eight bytes of the names that are not plain, and so of some that are and that nobody uses.
_DELAY: Final = _word(b"DELAY")
_POP_CHECK_POINT: Final = _word(b"POP_CK")
_CLUSTER: Final = _word(b"CLUSTER")
_HALF_MESSAGE: Final = _word(b"TRAN_MSG")
_TRACE: Final = _word(b"TRACE_ON")
_INNER_COUNT: Final = _word(b"INNER_NUM"[:8])
_REGION: Final = _word(b"MSG_REGION"[:8])
_TIMER_OUT: Final = _word(b"TIMER_OUT_MS"[:8])
_TIMER_DELIVER: Final = _word(b"TIMER_DELIVER_MS"[:8])
_TIMER_DELAY: Final = _word(b"TIMER_DELAY_SEC"[:8])
_SEEN_BITS: Final = 63


@kernel
def scan_properties(text: int, text_bytes: int) -> Properties:
    """Judge the properties at an address, with spare bytes behind them."""
    waits = True
    key = 0
    key_bytes = ABSENT
    seen = 0
    is_plain = True
    is_open = False
    at = text
    end = text + text_bytes
    window = text
    stops = bytes_up_to(text, VALUE_END) if text_bytes > 0 else 0
    while at < end:
        name = at
        separator, window, stops = _next_separator(window, stops, end)
        value = separator + 1
        at, window, stops = _next_separator(window, stops, end)
        is_open = at == end
        name_bytes = value - 1 - name
        if name_bytes <= 0 or value >= at or load_u8(value - 1) != NAME_END:
            is_plain = False
        if not is_open and load_u8(at) != VALUE_END:
            is_plain = False
        word = load_native_i64(name)
        if name_bytes < 8:
            word &= (1 << 8 * max(name_bytes, 0)) - 1
        if word == _UNIQUE_KEY and name_bytes == 8:
            key = value
            key_bytes = at - value
        elif word == _WAIT:
            waits = is_true(value, at - value)
        elif _is_special(word):
            is_plain = False
        bit = 1 << ((word ^ word >> 11 ^ word >> 29 ^ name_bytes) & _SEEN_BITS)
        if seen & bit and find(text, name - text, name, name_bytes)[0] != NONE:
            is_plain = False
        if not is_plain:
            break
        seen |= bit
        at += 1
    return Properties(is_plain, is_open, waits, key, key_bytes)


@kernel
def _is_special(word: int) -> bool:
    return word in (
        _DELAY,
        _POP_CHECK_POINT,
        _CLUSTER,
        _HALF_MESSAGE,
        _TRACE,
        _INNER_COUNT,
        _REGION,
        _TIMER_OUT,
        _TIMER_DELIVER,
        _TIMER_DELAY,
    )


@kernel
def _next_separator(window: int, stops: int, end: int) -> tuple[int, int, int]:
    """The next byte that is no text, or the end; the window of 32 bytes that it is in, and what is left there."""
    while stops == 0 and window < end:
        window += LANES
        stops = bytes_up_to(window, VALUE_END)
    return min(window + lowest_bit(stops), end), window, stops & (stops - 1)
