"""What servers answer, read by kernels: remoting in both header encodings, RESP, NATS.

Every reader returns (bytes used, tag): 0 bytes where the answer is not whole yet; where it is no success, a negative
number that `explain` puts into words. The tag is the opaque, or 0 where the protocol answers in order, or SKIP for
what answers no request.

In a JSON header `"opaque":` and `"code":0` are looked for where they were last time, and found by a search only where
they are not there. No text of a value can be mistaken for them: a quote within a value is escaped.
"""

from typing import Final

from shmq.jit import Words, kernel
from shmq.memory.endian import load_i16, load_i32, load_native_i64, load_u8
from shmq.wire.command import FLAG_ONEWAY

REMOTING: Final = 0
RESP: Final = 1
NATS: Final = 2

SKIP: Final = -1

REFUSED: Final = -200_000
"""Minus the code of the answer."""
GARBLED: Final = -300_000
NO_STREAM_ACK: Final = -300_001
SERVER_ERROR: Final = -300_002

HINT_WORDS: Final = 2
"""A reader keeps the places of two tokens between calls."""

_JSON: Final = 0
_BINARY: Final = 1
_OPAQUE: Final = int.from_bytes(b'"opaque"', "little", signed=True)
_SUCCESS: Final = int.from_bytes(b'"code":0', "little", signed=True)
_CODE: Final = int.from_bytes(b'"code":\0', "little", signed=True)
_FLAG: Final = int.from_bytes(b'"flag":\0', "little", signed=True)
_SEVEN_BYTES: Final = (1 << 56) - 1
_STREAM: Final = int.from_bytes(b'{"stream', "little", signed=True)
_ZERO: Final = ord("0")
_CR: Final = ord("\r")
_LF: Final = ord("\n")
_MINUS: Final = ord("-")
_DOLLAR: Final = ord("$")
_M: Final = ord("M")
_P: Final = ord("P")
_I: Final = ord("I")
_SUBJECT_AT: Final = 4  # after "MSG "
_INBOX_BYTES: Final = 17  # "_INBOX.perf.0000."
_TAG_DIGITS: Final = 10


@kernel
def is_digit(address: int) -> bool:
    """Whether an ASCII digit is there."""
    return 0 <= load_u8(address) - _ZERO <= 9


@kernel
def number_at(address: int) -> int:
    """The decimal number there, of as many digits as follow."""
    value = 0
    while is_digit(address):
        value = value * 10 + load_u8(address) - _ZERO
        address += 1
    return value


@kernel
def find_token(header: int, size_bytes: int, token: int, mask: int, hint: int) -> int:
    """Where eight bytes are in a header, tried first where they were last; -1 where they are not."""
    if hint + 8 <= size_bytes and load_native_i64(header + hint) & mask == token:
        return hint
    for at in range(size_bytes - 7):
        if load_native_i64(header + at) & mask == token:
            return at
    return -1


@kernel
def frame_bytes(at: int, held_bytes: int) -> int:
    """The size of the remoting frame that begins there; 0 where it is not whole yet."""
    if held_bytes < 8:
        return 0
    whole = load_i32(at) + 4
    if whole < 8 or load_i32(at + 4) & 0xFFFFFF > whole - 8:
        return GARBLED
    return whole if whole <= held_bytes else 0


@kernel
def body_at(at: int) -> int:
    """Where the body of a remoting frame begins."""
    return at + 8 + (load_i32(at + 4) & 0xFFFFFF)


@kernel
def opaque_of(at: int, hints: Words) -> int:
    """The opaque of a whole remoting frame, in either encoding; GARBLED where there is none."""
    word = load_i32(at + 4)
    if word >> 24 == _BINARY:
        return load_i32(at + 8 + 5)
    place = find_token(at + 8, word & 0xFFFFFF, _OPAQUE, -1, hints[0])
    if place < 0 or word >> 24 != _JSON:
        return GARBLED
    hints[0] = place
    return number_at(at + 8 + place + 9)


@kernel
def is_answered(at: int, hints: Words) -> bool:
    """Whether a whole request wants an answer, in either encoding."""
    word = load_i32(at + 4)
    header = at + 8
    if word >> 24 == _BINARY:
        return load_i32(header + 9) & FLAG_ONEWAY == 0
    place = find_token(header, word & 0xFFFFFF, _FLAG, _SEVEN_BYTES, hints[1])
    if place < 0:
        return True
    hints[1] = place
    return number_at(header + place + 7) & FLAG_ONEWAY == 0


@kernel
def code_of(at: int, hints: Words) -> int:
    """The code of a whole answer, in either encoding; GARBLED where there is none."""
    word = load_i32(at + 4)
    header, header_bytes = at + 8, word & 0xFFFFFF
    if word >> 24 == _BINARY:
        return load_i16(header)
    place = find_token(header, header_bytes, _SUCCESS, -1, hints[1])
    if place >= 0 and not is_digit(header + place + 8):
        hints[1] = place
        return 0
    place = find_token(header, header_bytes, _CODE, _SEVEN_BYTES, 0)
    return number_at(header + place + 7) if place >= 0 else GARBLED


@kernel
def read_remoting(at: int, held_bytes: int, hints: Words) -> tuple[int, int]:
    """The answer to a send."""
    whole = frame_bytes(at, held_bytes)
    if whole <= 0:
        return whole, 0
    opaque, code = opaque_of(at, hints), code_of(at, hints)
    if opaque == GARBLED or code == GARBLED:  # noqa: PLR1714 - a kernel has no set
        return GARBLED, 0
    return (whole, opaque) if code == 0 else (REFUSED - code, opaque)


@kernel
def line_bytes(at: int, held_bytes: int) -> int:
    """The size of the line that begins there, with its CR LF; 0 where it is not whole yet."""
    for index in range(1, held_bytes):
        if load_u8(at + index) == _LF and load_u8(at + index - 1) == _CR:
            return index + 1
    return 0


@kernel
def read_resp(at: int, held_bytes: int) -> tuple[int, int]:
    """The answer to XADD: a bulk string that is the entry's id."""
    line = line_bytes(at, held_bytes)
    if line == 0:
        return 0, 0
    if load_u8(at) != _DOLLAR or load_u8(at + 1) == _MINUS:
        return SERVER_ERROR, 0
    whole = line + number_at(at + 1) + 2
    return (whole, 0) if whole <= held_bytes else (0, 0)


@kernel
def read_nats(at: int, held_bytes: int) -> tuple[int, int]:
    """The acknowledgement of a published message: it comes to the reply subject, whose last ten digits are the tag."""
    line = line_bytes(at, held_bytes)
    if line == 0:
        return 0, 0
    first = load_u8(at)
    if first in (_P, _I):  # PING, which may stay unanswered twice, and INFO
        return line, SKIP
    if first != _M:
        return SERVER_ERROR, 0
    size_at = at + line - 3
    while is_digit(size_at):
        size_at -= 1
    whole = line + number_at(size_at + 1) + 2
    if whole > held_bytes:
        return 0, 0
    if load_native_i64(at + line) != _STREAM:
        return NO_STREAM_ACK, 0
    return whole, number_at(at + _SUBJECT_AT + _INBOX_BYTES)


def explain(status: int) -> str:
    """A failure in words."""
    if status == GARBLED:
        return "the peer's bytes are no answer"
    if status == NO_STREAM_ACK:
        return "the peer refused to store a message"
    if status == SERVER_ERROR:
        return "the peer answered with an error"
    if REFUSED - 100_000 < status <= REFUSED:
        return f"the peer refused a request with code {REFUSED - status}"
    return f"failure {status}"
