"""Layout and kernels: a request as kernels see it: the header's numbers, and where the text of each field lies.

    offset  size  field         meaning
    ------  ----  ------------  -------------------------------------------------------------------
         0     8  code
         8     8  flag
        16     8  opaque
        24     8  version
        32     8  encoding      JSON or BINARY
        40     8  body          address
        48     8  body_bytes
        56     8  present       a bit for each field that is there, by its id
        64     8  arena_used    bytes of the arena that hold unescaped text
       128  1024  texts         (address, size) of each field's text, by its id; only where it is present
      1152

Private to a network worker, made anew by each `parsing.parse`, and good until the next one: a text lies in the
frame itself, or unescaped in the arena behind this block, which holds as much as the longest header taken. A text
is valid UTF-8. Ids 0 to 13 are the one-letter names of a send; the others have a name in full.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import kernel
from shmq.memory.block import address_of, equal
from shmq.memory.endian import load_native_i64, load_u8, store_native_i64
from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(
    1152,
    code=(0, "<i8"),
    flag=(8, "<i8"),
    opaque=(16, "<i8"),
    version=(24, "<i8"),
    encoding=(32, "<i8"),
    body=(40, "<i8"),
    body_bytes=(48, "<i8"),
    present=(56, "<i8"),
    arena_used=(64, "<i8"),
    texts=(128, "(64,2)<i8"),
)
CODE: Final = offset_of(LAYOUT, "code")
FLAG: Final = offset_of(LAYOUT, "flag")
OPAQUE: Final = offset_of(LAYOUT, "opaque")
VERSION: Final = offset_of(LAYOUT, "version")
ENCODING: Final = offset_of(LAYOUT, "encoding")
BODY: Final = offset_of(LAYOUT, "body")
BODY_BYTES: Final = offset_of(LAYOUT, "body_bytes")
PRESENT: Final = offset_of(LAYOUT, "present")
ARENA_USED: Final = offset_of(LAYOUT, "arena_used")
TEXTS: Final = offset_of(LAYOUT, "texts")
ARENA: Final = LAYOUT.itemsize

HEADER_BYTES_MAX: Final = 1 << 17
"""A longer header is Python's."""
SPARE_BYTES: Final = 64
"""So much behind a frame can be read, and behind the arena's text be written, whatever it holds."""
SIZE: Final = ARENA + HEADER_BYTES_MAX + SPARE_BYTES

JSON: Final = 0
BINARY: Final = 1

A: Final = 0
B: Final = 1
C: Final = 2
D: Final = 3
E: Final = 4
F: Final = 5
G: Final = 6
H: Final = 7
I: Final = 8  # noqa: E741 - the names that the wire gives them
J: Final = 9
K: Final = 10
L: Final = 11
M: Final = 12
N: Final = 13
CONSUMER_GROUP: Final = 16
TOPIC: Final = 17
QUEUE_ID: Final = 18
QUEUE_OFFSET: Final = 19
MESSAGE_COUNT_MAX: Final = 20
SYS_FLAG: Final = 21
COMMIT_OFFSET: Final = 22
SUSPEND_TIMEOUT_MS: Final = 23
SUBSCRIPTION: Final = 24
SUBSCRIPTION_VERSION: Final = 25
EXPRESSION_TYPE: Final = 26
MESSAGE_BYTES_MAX: Final = 27
REQUEST_SOURCE: Final = 28
PROXY_CLIENT_ID: Final = 29
BROKER_NAME: Final = 30
ZERO_IF_NOT_FOUND: Final = 31

NAMES: Final[Mapping[str, int]] = MappingProxyType(
    {letter: number for number, letter in enumerate("abcdefghijklmn")}
    | {
        "consumerGroup": CONSUMER_GROUP,
        "topic": TOPIC,
        "queueId": QUEUE_ID,
        "queueOffset": QUEUE_OFFSET,
        "maxMsgNums": MESSAGE_COUNT_MAX,
        "sysFlag": SYS_FLAG,
        "commitOffset": COMMIT_OFFSET,
        "suspendTimeoutMillis": SUSPEND_TIMEOUT_MS,
        "subscription": SUBSCRIPTION,
        "subVersion": SUBSCRIPTION_VERSION,
        "expressionType": EXPRESSION_TYPE,
        "maxMsgBytes": MESSAGE_BYTES_MAX,
        "requestSource": REQUEST_SOURCE,
        "proxyFrowardClientId": PROXY_CLIENT_ID,
        "bname": BROKER_NAME,
        "setZeroIfNotFound": ZERO_IF_NOT_FOUND,
    }
)
"""The fields that are kept, by their names on the wire; a field of another name is nobody's."""

ABSENT: Final = -1
UNKNOWN: Final = -1

_INT32_MAX: Final = (1 << 31) - 1
_ZERO, _PLUS, _MINUS = b"0+-"
_TRUE: Final = 0x65757274  # "true", native
_DIGITS_MAX: Final = 18  # surely of an int64; longer numbers are Python's
_HIGH_NIBBLES: Final = -0x0F0F0F0F0F0F0F10
_LOW_NIBBLES: Final = 0x0F0F0F0F0F0F0F0F
_THREES: Final = 0x3030303030303030
_SIXES: Final = 0x0606060606060606
_NAME_BYTES_MAX: Final = 20
_NAME_ROOM_BYTES: Final = 24


def _tabulate() -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The names by length and first letter, which tell them all apart, and the names by id."""
    ids = np.full((_NAME_BYTES_MAX + 1) * 32, UNKNOWN, dtype=np.int64)
    texts = np.zeros(_NAME_ROOM_BYTES * 64, dtype=np.uint8)
    for name, field_id in NAMES.items():
        place = 32 * len(name) + (ord(name[0]) & 31)
        assert ids[place] == UNKNOWN, "two names of one length begin with the same letter"
        ids[place] = field_id
        at = _NAME_ROOM_BYTES * field_id
        texts[at : at + len(name)] = list(name.encode())
    return ids, texts


_IDS, _TEXTS = _tabulate()


@kernel
def field_id_of(name: int, name_bytes: int) -> int:
    """The id of the field that a name stands for, or UNKNOWN."""
    if name_bytes < 1 or name_bytes > _NAME_BYTES_MAX:
        return UNKNOWN
    field_id = int(_IDS[32 * name_bytes + (load_u8(name) & 31)])
    if field_id != UNKNOWN and equal(address_of(_TEXTS) + _NAME_ROOM_BYTES * field_id, name, name_bytes):
        return field_id
    return UNKNOWN


@kernel
def put_field(request: int, field_id: int, text: int, text_bytes: int) -> None:
    """Note where a field's text lies; `present` is the parser's to set."""
    at = request + TEXTS + 16 * field_id
    store_native_i64(at, text)
    store_native_i64(at + 8, text_bytes)


@kernel
def has(request: int, field_id: int) -> bool:
    """Whether a field is there; it may be empty."""
    return (load_native_i64(request + PRESENT) >> field_id) & 1 != 0


@kernel
def field(request: int, field_id: int) -> tuple[int, int]:
    """Address and size of a field's text; the size is ABSENT where there is none."""
    if not has(request, field_id):
        return 0, ABSENT
    at = request + TEXTS + 16 * field_id
    return load_native_i64(at), load_native_i64(at + 8)


@kernel
def int64_of(request: int, field_id: int) -> tuple[bool, int]:
    """The number that a field holds; False where it is absent, empty, no number, or longer than 18 digits."""
    address, size_bytes = field(request, field_id)
    return integer(address, size_bytes)


@kernel
def int32_of(request: int, field_id: int) -> tuple[bool, int]:
    """The number of 32 bits that a field holds; False where it is absent, empty, or none."""
    address, size_bytes = field(request, field_id)
    is_number, number = integer(address, size_bytes)
    return is_number and -_INT32_MAX - 1 <= number <= _INT32_MAX, number


@kernel
def boolean_of(request: int, field_id: int, default: bool) -> bool:
    """Whether a field says `true` in any case; the default where it is absent or empty."""
    address, size_bytes = field(request, field_id)
    if size_bytes <= 0:
        return default
    return is_true(address, size_bytes)


@kernel
def is_true(address: int, size_bytes: int) -> bool:
    """Whether a text is `true` in any case."""
    if size_bytes != 4:
        return False
    at = 0
    while at < 4:
        if load_u8(address + at) | 0x20 != (_TRUE >> (8 * at)) & 0xFF:
            return False
        at += 1
    return True


@kernel
def integer(address: int, size_bytes: int) -> tuple[bool, int]:
    """The number that a text is, as Java reads it; False where it is none, or longer than 18 digits."""
    at = address
    end = address + size_bytes
    is_negative = False
    if size_bytes > 0:
        first = load_u8(at)
        if first in (_MINUS, _PLUS):
            is_negative = first == _MINUS
            at += 1
    if at >= end or end - at > _DIGITS_MAX:
        return False, 0
    number = 0
    if end - at >= 8:
        word = load_native_i64(at)
        if not _are_digits(word):
            return False, 0
        number = _eight_digits(word)
        at += 8
    while at < end:
        digit = load_u8(at) - _ZERO
        if digit < 0 or digit > 9:
            return False, 0
        number = 10 * number + digit
        at += 1
    return True, -number if is_negative else number


@kernel
def _are_digits(word: int) -> bool:
    """Whether eight bytes are decimal digits: their high nibbles are 3, and stay so if 6 is added to the low ones."""
    return word & _HIGH_NIBBLES == _THREES and (word + _SIXES) & _HIGH_NIBBLES == _THREES


@kernel
def _eight_digits(word: int) -> int:
    """The number that eight digits are, the first one in the lowest byte: pairs of them, of these, and again."""
    pairs = word & _LOW_NIBBLES
    pairs = (10 * pairs + (pairs >> 8)) & 0x00FF00FF00FF00FF
    fours = (100 * pairs + (pairs >> 16)) & 0x0000FFFF0000FFFF
    return (10_000 * fours + (fours >> 32)) & 0xFFFFFFFF
