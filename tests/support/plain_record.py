"""Records read slowly, in plain Python, as the specification alone tells; and what Hypothesis makes of them.

It shares no line with `shmq/store/record.py`, so that the two can judge each other.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from shmq.store import properties
from shmq.store.host import Host
from shmq.store.record import NewRecord

MAGIC_V2 = 0xDAA320AB
BLANK = 0xCBD43194

HOSTS = st.builds(
    Host,
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    st.integers(0, 65535),
)
I32 = st.integers(-(1 << 31), (1 << 31) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.text(
    st.characters(exclude_characters="\x01\x02", exclude_categories=["Cs"]), min_size=1, max_size=8
)
VALUES = st.text(st.characters(exclude_characters="\x02", exclude_categories=["Cs"]), min_size=1, max_size=20)
PAIRS = st.dictionaries(
    st.one_of(st.sampled_from(["TAGS", "DELAY", "KEYS", "UNIQ_KEY"]), NAMES), VALUES, max_size=5
)
RECORDS = st.builds(
    NewRecord,
    topic=st.binary(min_size=1, max_size=255),
    queue_id=I32,
    flag=I32,
    sys_flag=st.integers(0, 0xFFFF),
    born_timestamp_ms=I64,
    born_host=HOSTS,
    store_host=HOSTS,
    reconsume_times=I32,
    prepared_position=I64,
    body=st.binary(max_size=300),
    properties=PAIRS.map(properties.join),
)


@dataclass(frozen=True)
class PlainRecord:
    """A record, field by field; `body_at` and the like count from its first byte."""

    size: int
    magic: int
    crc: int
    queue_id: int
    flag: int
    queue_offset: int
    position: int
    sys_flag: int
    born_ms: int
    born_host: Host
    store_ms: int
    store_host: Host
    reconsume_times: int
    prepared_position: int
    body_at: int
    body: bytes
    topic_at: int
    topic: bytes
    properties_at: int
    properties: bytes

    @property
    def pairs(self):
        """The properties, as text: a pair has a name and a value, and the last of one name counts."""
        parts = [part.partition(b"\x01") for part in self.properties.split(b"\x02")]
        return {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, _, value in parts
            if name and value
        }


def java_string_hash(text: str) -> int:
    encoded = text.encode("utf-16-be", "surrogatepass")
    result = 0
    for at in range(0, len(encoded), 2):
        result = (31 * result + int.from_bytes(encoded[at : at + 2], "big")) & 0xFFFFFFFF
    return result - (1 << 32) if result >= 1 << 31 else result


def read_plainly(encoded: bytes) -> PlainRecord:
    """The record of exactly these bytes: one field after another."""
    at = 0

    def number(size_bytes: int) -> int:
        nonlocal at
        at += size_bytes
        return int.from_bytes(encoded[at - size_bytes : at], "big", signed=True)

    def text(size_bytes: int) -> bytes:
        nonlocal at
        at += size_bytes
        return encoded[at - size_bytes : at]

    size, magic, crc, queue_id, flag = (number(4) for _ in range(5))
    queue_offset, position, sys_flag, born_ms = number(8), number(8), number(4), number(8)
    born = Host(text(16 if sys_flag & 0x10 else 4), number(4))
    store_ms = number(8)
    stored = Host(text(16 if sys_flag & 0x20 else 4), number(4))
    reconsume_times, prepared = number(4), number(8)
    body = text(number(4))
    body_at = at - len(body)
    topic = text(number(2 if magic & 0xFFFFFFFF == MAGIC_V2 else 1))
    topic_at = at - len(topic)
    pairs = text(number(2))
    assert at == size == len(encoded)
    return PlainRecord(
        *(size, magic & 0xFFFFFFFF, crc, queue_id, flag, queue_offset, position, sys_flag, born_ms, born),
        *(
            store_ms,
            stored,
            reconsume_times,
            prepared,
            body_at,
            body,
            topic_at,
            topic,
            at - len(pairs),
            pairs,
        ),
    )


def read_log_plainly(files: dict[int, bytes]) -> list[PlainRecord]:
    """All records of a log, given as its files by where they start; it ends with the first zero."""
    found = []
    for start, content in sorted(files.items()):
        at = 0
        while at < len(content):
            size = int.from_bytes(content[at : at + 4], "big")
            if int.from_bytes(content[at + 4 : at + 8], "big") == BLANK:
                break
            if size == 0:
                return found
            found.append(read_plainly(content[at : at + size]))
            assert found[-1].position == start + at
            at += size
    return found
