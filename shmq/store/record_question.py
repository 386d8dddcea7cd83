"""What records a program asks for, checked, and as the kernels understand it."""

from collections.abc import Sequence
from typing import Final, TypedDict

import numpy as np

from shmq.jit import Bytes, Words
from shmq.memory.block import address_of
from shmq.store.position import NONE
from shmq.store.record_match import TAG_WORDS, Wanted, hash_of_tag

_INT64_MAX: Final = (1 << 63) - 1


class Asked(TypedDict, total=False):
    """Which records are wanted; ranges hold their begin and not their end. None, or nothing, leaves it open.

    Attributes:
        topic: of this topic.
        queue_id: in queues of this number.
        begin: in the log from this position on; it need not be that of a record.
        end: below this position.
        begin_offset: from this number in their queue on.
        end_offset: below this number.
        since_ms: stored from this time on. Store times never go back, so whole files are passed over.
        until_ms: stored before this time.
        tag: with this tag, or one of these.
        key: with this key, or this unique id.
    """

    topic: str | None
    queue_id: int | None
    begin: int | None
    end: int | None
    begin_offset: int | None
    end_offset: int | None
    since_ms: int | None
    until_ms: int | None
    tag: str | Sequence[str] | None
    key: str | None


class Question:
    """A question that can be answered.

    Attributes:
        wanted: as the kernels understand it, for as long as the question lives.
        queue: the topic and the queue id, where it is a queue that is asked for.
        has_times: whether store times are bounded.
    """

    def __init__(self, asked: Asked, *, has_hashes: bool) -> None:
        """Check what is asked for.

        Args:
            asked: which records.
            has_hashes: whether the hash of their tags is to be found out as well.

        Raises:
            TypeError: there is no such side to a question.
            ValueError: it cannot be.
        """
        unknown = asked.keys() - Asked.__annotations__.keys()
        if unknown:
            raise TypeError(f"nothing is called {', '.join(sorted(unknown))} here")
        self._texts: list[Bytes] = []  # keeps alive what kernels have the address of
        topic, queue_id, tag = asked.get("topic"), asked.get("queue_id"), asked.get("tag")
        self.queue = None if topic is None or queue_id is None else (topic.encode(), queue_id)
        self.has_times = asked.get("since_ms") is not None or asked.get("until_ms") is not None
        if queue_id is not None and queue_id < 0:
            raise ValueError("queue ids are not negative")
        tags = (tag,) if isinstance(tag, str) else tuple(tag or ())
        self._tags: Words = np.zeros(TAG_WORDS * max(len(tags), 1), dtype=np.int64)
        for index, each in enumerate(tags):
            text, size_bytes = self._text(each)
            words = hash_of_tag(text, size_bytes), text, size_bytes
            self._tags[TAG_WORDS * index : TAG_WORDS * (index + 1)] = words
        begin, last = _range(asked.get("begin"), asked.get("end"))
        first_offset, last_offset = _range(asked.get("begin_offset"), asked.get("end_offset"))
        first_ms, last_ms = _range(asked.get("since_ms"), asked.get("until_ms"))
        topic_at, topic_bytes = self._text(topic)
        key_at, key_bytes = self._text(asked.get("key"))
        self.wanted = Wanted(
            begin=max(begin, 0),
            end=min(last, _INT64_MAX - 1) + 1,
            topic=topic_at,
            topic_bytes=topic_bytes,
            queue_id=NONE if queue_id is None else queue_id,
            first_offset=first_offset,
            last_offset=last_offset,
            first_ms=first_ms,
            last_ms=last_ms,
            tags=address_of(self._tags),
            tag_count=len(tags),
            key=key_at,
            key_bytes=key_bytes,
            is_placed=self.queue is not None,
            has_hashes=has_hashes,
        )

    def _text(self, text: str | None) -> tuple[int, int]:
        """Where kernels find a text in UTF-8, and how long it is; NONE and 0 without."""
        if text is None:
            return NONE, 0
        if not text:
            raise ValueError("a topic, a key and a tag have at least one character")
        self._texts.append(np.frombuffer(text.encode(), dtype=np.uint8))
        return address_of(self._texts[-1]), len(self._texts[-1])


def _range(begin: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last number of a range."""
    if any(abs(side or 0) > _INT64_MAX for side in (begin, end)):
        raise ValueError("positions, offsets and times are 64-bit numbers")
    return -_INT64_MAX - 1 if begin is None else begin, _INT64_MAX if end is None else end - 1
