"""Templates: what all messages of one topic, tags, keys and properties have in common, made once.

A template holds a record's head and its tail (topic and properties) as bytes, made by the same encoder as
every other record, so that a kernel adds the body, five numbers and the checksum. It also holds the queues of
the topic as they were when it was last looked at: a kernel compares the broker's count of changes and says
STALE where they may be others by now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shmq.broker.message_properties import DELAY, KEYS, TAGS, TIMER_DELAYS
from shmq.errors import RefusedError
from shmq.jit import Words
from shmq.local import desk as d
from shmq.memory.block import address_of
from shmq.ring import spsc
from shmq.shared import submission
from shmq.shared.terms import Terms
from shmq.store import properties as property_text
from shmq.store.host import Host, pack_address
from shmq.store.record import (
    BLANK_BYTES_MIN,
    PROPERTIES_BYTES_MAX,
    TOPIC_BYTES_V1_MAX,
    NewRecord,
    encode_into,
    size_of,
)
from shmq.wire.codes import ResponseCode

_LOCAL_HOST: Final = Host(bytes((127, 0, 0, 1)), 0)
_FORBIDDEN: Final = frozenset({DELAY, *TIMER_DELAYS, "TRAN_MSG", "POP_CK", "INNER_NUM"})
_SEPARATORS: Final = ("\x01", "\x02")


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of a topic that may be written to.

    Attributes:
        slots: their slots, by queue id.
        changes: the broker's count of changes for which this is true.
    """

    slots: Words
    changes: int


class Template:
    """One template, and the memory that it points to.

    Attributes:
        address: of the words of `desk.TEMPLATE`.
        words: those words.
        body_bytes_max: the longest body.
        record_bytes: what a record has beside its body.
    """

    def __init__(self, desk: int, topic: bytes, text: bytes, fixed_queue: int) -> None:
        """Make it empty: `fit` and `take` fill it.

        Args:
            desk: of the session.
            topic: where to.
            text: the properties, as a record has them.
            fixed_queue: where all go, or ANY_QUEUE.
        """
        self._topic = topic
        self._text = text
        self._kept: tuple[Any, ...] = ()
        self._queues: Queues | None = None
        self.body_bytes_max = self.record_bytes = 0
        self.words: memoryview = np.zeros(d.TEMPLATE_SIZE // 8, dtype=np.int64).data
        self.address = address_of(np.asarray(self.words))
        self._set({d.OWN_DESK: desk, d.FIXED_QUEUE: fixed_queue, d.NONE_OBJECT: id(None)})

    def fit(self, terms: Terms, capacity_bytes: int) -> None:
        """Fit it to a life of the broker: its address, its limits, the capacity of the ring to its writer."""
        made = NewRecord(self._topic, 0, 0, 0, 0, _LOCAL_HOST, store_host(terms), 0, 0, b"", self._text)
        whole = np.zeros(size_of(made), dtype=np.uint8)
        encode_into(made, whole.data, 0)
        topic_size_bytes = 2 if len(self._topic) > TOPIC_BYTES_V1_MAX else 1
        tail_bytes = topic_size_bytes + len(self._topic) + 2 + len(self._text)
        room_bytes = spsc.payload_bytes_max(capacity_bytes) - submission.HEAD_SIZE - len(whole)
        file_bytes = terms.commit_log_file_bytes - BLANK_BYTES_MIN - len(whole)
        self.body_bytes_max = max(0, min(terms.message_bytes_max, room_bytes, file_bytes))
        self.record_bytes = len(whole)
        begin = address_of(whole)
        self._kept = (whole,)
        self._set(
            {
                d.METADATA_SEEN: d.NOBODY,
                d.HEAD: begin,
                d.HEAD_BYTES: len(whole) - tail_bytes,
                d.TAIL: begin + len(whole) - tail_bytes,
                d.TAIL_BYTES: tail_bytes,
                d.BODY_BYTES_MAX: self.body_bytes_max,
            }
        )

    def take(self, queues: Queues) -> None:
        """Take over the queues of the topic."""
        self._queues = queues
        self._set(
            {
                d.SLOTS: address_of(queues.slots),
                d.QUEUE_COUNT: len(queues.slots),
                d.METADATA_SEEN: queues.changes,
            }
        )

    def outdate(self) -> None:
        """Have it looked at again before it is used: the broker is another, or its topics may be."""
        self._set({d.METADATA_SEEN: d.NOBODY})

    def set_objects(self, slow_send: Any, slow_wait: Any, result_type: type) -> None:
        """Note what builtins go on with, and the class of their result; whoever calls this keeps them alive."""
        self._set({d.SLOW_SEND: id(slow_send), d.SLOW_WAIT: id(slow_wait), d.RESULT_TYPE: id(result_type)})

    def _set(self, values: Mapping[int, int]) -> None:
        for field, value in values.items():
            self.words[field // 8] = value


def store_host(terms: Terms) -> Host:
    """The broker's address as records carry it."""
    host, _, port = terms.advertised_address.rpartition(":")
    try:
        return Host(pack_address(host.strip("[]")), int(port))
    except ValueError:  # a name: what it stands for is the clients' matter
        return Host(_LOCAL_HOST.address, int(port))


def properties_text(tags: str | None, keys: str | None, properties: Mapping[str, str] | None) -> bytes:
    """The properties of a message as a record has them.

    Raises:
        RefusedError: they are too long, hold a separator, or ask for what only a network client can have.
    """
    pairs = dict(properties or {})
    if tags is not None:
        pairs[TAGS] = tags
    if keys is not None:
        pairs[KEYS] = keys
    foreign = _FORBIDDEN.intersection(pairs)
    if foreign:
        _refuse(
            f"the properties {sorted(foreign)} are not for a local producer: send by TCP what waits or is prepared"
        )
    for name, value in pairs.items():
        if any(each in name or each in value for each in _SEPARATORS):
            _refuse(f"the property {name!r} holds a byte that parts properties")
    text = property_text.join(pairs)
    if len(text) > PROPERTIES_BYTES_MAX:
        _refuse(f"the properties are {len(text)} bytes long, at most {PROPERTIES_BYTES_MAX} go")
    return text


def _refuse(remark: str) -> None:
    raise RefusedError(ResponseCode.MESSAGE_ILLEGAL, remark)
