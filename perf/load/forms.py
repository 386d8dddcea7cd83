"""Requests made once, whole but for the few bytes that each one has of its own.

A form is the text of a request and the places in it: where its tag (opaque, or the digits of a reply subject) goes, in
ten digits or as a big-endian word, and where sixteen hexadecimal digits make each message's key its own. A form may
hold several messages: a batch, or messages sent oneway before one that is answered.

The remoting forms are what RocketMQ's Java client writes: SEND_MESSAGE_V2 (310) or SEND_BATCH_MESSAGE (320), fields of
one letter, properties UNIQ_KEY, WAIT and TAGS, the header in JSON or in the binary encoding.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import store_i32, store_u8
from shmq.wire.batch import BatchEntry, join_batch
from shmq.wire.codes import RequestCode
from shmq.wire.command import FLAG_ONEWAY, Command, Encoding, encode

WORDS: Final = 7
START: Final = 0
SIZE: Final = 1
TAG_AT: Final = 2
TAG_IS_WORD: Final = 3
KEYS_FIRST: Final = 4
KEYS: Final = 5
LANE_AT: Final = 6

TAG_BASE: Final = 1_000_000_000
"""The least tag: every one has ten digits, and fits 31 bits."""
TAGS: Final = 1_000_000_000

KEY_DIGITS: Final = 16
LANE_DIGITS: Final = 4
_KEY: Final = "#" * 32
_KEY_NOW: Final = b"7F00000100011DBD" + b"0" * KEY_DIGITS  # an address, a process, then what is counted
_JSON_TAG: Final = b'"opaque":'
_JSON_OPAQUE: Final = _JSON_TAG + b"%d" % TAG_BASE
_NO_TAG: Final = -1
_TAG_DIGITS: Final = 10
_OPAQUE_AT: Final = 8 + 5  # in the binary header
_BATCH_ENTRY_FLAG: Final = 0
_HEX_DIGIT_AFTER_9: Final = ord("A") - 10
_DIGIT_0: Final = ord("0")


@dataclass(frozen=True)
class Form:
    """One request.

    Attributes:
        text: its bytes.
        tag_at: where its tag goes, or -1 where the protocol has none.
        tag_is_word: whether the tag is four bytes instead of ten digits.
        keys_at: where each message's key goes.
        messages: how many messages it sends.
        lane_at: where the number of its connection goes, or -1.
    """

    text: bytes
    tag_at: int
    tag_is_word: bool
    keys_at: tuple[int, ...]
    messages: int
    lane_at: int = -1


@dataclass(frozen=True)
class Shape:
    """What is sent.

    Attributes:
        body_bytes: of each message.
        messages: in each request.
        kind: `single`, `batch`, or `oneway`: all but the last message of a request are not answered.
        is_binary: whether remoting headers are binary instead of JSON.
    """

    body_bytes: int
    messages: int = 1
    kind: str = "single"
    is_binary: bool = False


def remoting_forms(topics: Sequence[str], queues: int, shape: Shape) -> list[Form]:
    """One form for each queue of each topic, topics in turn."""
    return [_remoting(topic, queue_id, shape) for queue_id in range(queues) for topic in topics]


def redis_forms(streams: Sequence[str], shape: Shape, length_max: int) -> list[Form]:
    """XADD to each stream, which Redis keeps near a length."""
    body = bytes(shape.body_bytes)
    forms = []
    for stream in streams:
        words = (b"XADD", stream.encode(), b"MAXLEN", b"~", b"%d" % length_max, b"*", b"b", body)
        text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        forms.append(Form(text, _NO_TAG, tag_is_word=False, keys_at=(), messages=1))
    return forms


def nats_forms(subjects: Sequence[str], shape: Shape) -> list[Form]:
    """PUB to each subject, to be acknowledged by JetStream on a reply subject of connection and tag."""
    forms = []
    for subject in subjects:
        head = f"PUB {subject} {inbox(0)}.{TAG_BASE} {shape.body_bytes}\r\n".encode()
        tag_at = head.index(str(TAG_BASE).encode())
        text = head + bytes(shape.body_bytes) + b"\r\n"
        lane_at = tag_at - 1 - LANE_DIGITS
        forms.append(Form(text, tag_at, tag_is_word=False, keys_at=(), messages=1, lane_at=lane_at))
    return forms


def inbox(lane: int) -> str:
    """Below which subject the acknowledgements for a connection come."""
    return f"_INBOX.perf.{lane:0{LANE_DIGITS}}"


@dataclass
class FormTable:
    """Forms as kernels want them.

    Attributes:
        rows: a row of words for each form.
        keys_at: places of keys, of all forms.
        texts: all texts.
        bytes_max: the size of the largest form.
    """

    rows: Words
    keys_at: Words
    texts: Bytes
    bytes_max: int

    @classmethod
    def of(cls, forms: Sequence[Form]) -> "FormTable":
        """Lay forms side by side."""
        rows = np.zeros((len(forms), WORDS), dtype=np.int64)
        keys: list[int] = []
        start = 0
        for row, form in zip(rows, forms, strict=True):
            row[:6] = (start, len(form.text), form.tag_at, form.tag_is_word, len(keys), len(form.keys_at))
            row[LANE_AT] = form.lane_at
            keys += form.keys_at
            start += len(form.text)
        texts = np.frombuffer(b"".join(form.text for form in forms), dtype=np.uint8).copy()
        return cls(
            rows.reshape(-1),
            np.array([*keys, 0], dtype=np.int64),
            texts,
            max(len(form.text) for form in forms),
        )


@kernel
def write_form(target: int, texts: Bytes, forms: Words, row: int) -> None:
    """Copy a form's text, bytes of its own still missing."""
    copy(target, address_of(texts) + forms[row + START], forms[row + SIZE])


@kernel
def fill_form(target: int, forms: Words, keys_at: Words, row: int, tag: int, key: int) -> int:
    """Write a request's own bytes into its text; return the next free key."""
    tag_at = forms[row + TAG_AT]
    if tag_at >= 0:
        if forms[row + TAG_IS_WORD]:
            store_i32(target + tag_at, tag)
        else:
            put_digits(target + tag_at, tag, _TAG_DIGITS)
    first = forms[row + KEYS_FIRST]
    for index in range(first, first + forms[row + KEYS]):
        put_hexadecimal(target + keys_at[index], key)
        key += 1
    return key


@kernel
def put_digits(target: int, number: int, digits: int) -> None:
    """Write a number in so many decimal digits."""
    for index in range(digits - 1, -1, -1):
        store_u8(target + index, _DIGIT_0 + number % 10)
        number //= 10


@kernel
def put_hexadecimal(target: int, number: int) -> None:
    """Write a number in KEY_DIGITS hexadecimal digits."""
    for index in range(KEY_DIGITS):
        digit = (number >> (4 * (KEY_DIGITS - 1 - index))) & 15
        store_u8(target + index, digit + (_DIGIT_0 if digit < 10 else _HEX_DIGIT_AFTER_9))


def _remoting(topic: str, queue_id: int, shape: Shape) -> Form:
    if shape.kind == "batch":
        entry = BatchEntry(_BATCH_ENTRY_FLAG, bytes(shape.body_bytes), _properties().encode())
        text = _send_frame(topic, queue_id, join_batch([entry] * shape.messages), shape, is_batch=True)
        tag_at = 0
    else:
        once = _send_frame(topic, queue_id, bytes(shape.body_bytes), shape)
        unanswered = _send_frame(topic, queue_id, bytes(shape.body_bytes), shape, is_oneway=True)
        text = unanswered * (shape.messages - 1) + once
        tag_at = len(text) - len(once)
    tag_at = _OPAQUE_AT + tag_at if shape.is_binary else text.index(_JSON_OPAQUE, tag_at) + len(_JSON_TAG)
    keys_at = tuple(_keys_in(text))
    return Form(text.replace(_KEY.encode(), _KEY_NOW), tag_at, shape.is_binary, keys_at, shape.messages)


def _send_frame(
    topic: str, queue_id: int, body: bytes, shape: Shape, *, is_batch: bool = False, is_oneway: bool = False
) -> bytes:
    fields = {
        "a": "perf-producer",
        "b": topic,
        "c": "TBW102",
        "d": "4",
        "e": str(queue_id),
        "f": "0",
        "g": str(time.time_ns() // 1_000_000),
        "h": "0",
        "i": "" if is_batch else _properties(),
        "j": "0",
        "k": "false",
        "m": "true" if is_batch else "false",
        "n": "perf",
    }
    return encode(
        Command(
            RequestCode.SEND_BATCH_MESSAGE if is_batch else RequestCode.SEND_MESSAGE_V2,
            TAG_BASE,
            flag=FLAG_ONEWAY if is_oneway else 0,
            fields=fields,
            body=body,
            encoding=Encoding.ROCKETMQ if shape.is_binary else Encoding.JSON,
        )
    )


def _properties() -> str:
    return f"UNIQ_KEY\x01{_KEY}\x02WAIT\x01true\x02TAGS\x01TagA\x02"


def _keys_in(text: bytes) -> list[int]:
    """Where the second half of each key begins; the first half becomes a prefix that all share."""
    found = []
    at = text.find(_KEY.encode())
    while at >= 0:
        found.append(at + len(_KEY) - KEY_DIGITS)
        at = text.find(_KEY.encode(), at + len(_KEY))
    return found
