"""The tag and the keys that are found 32 bytes at once are those that are found byte by byte."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.store import properties

KEYS = np.frombuffer(b"KEYS", dtype=np.uint8)
UNIQUE = np.frombuffer(b"UNIQ_KEY", dtype=np.uint8)
TAGS = np.frombuffer(b"TAGS", dtype=np.uint8)
pieces = st.lists(
    st.sampled_from(
        [
            b"TAGS",
            b"\x01",
            b"\x02",
            b"T",
            b"A" * 29,
            b"KEYS\x01k\x02",
            b"UNIQ_KEY",
            b"UNIQ_KEY\x01u\x02",
            b"KEYS",
            b"TAGS\x01TagA\x02",
            b"\xff\x80",
        ]
    ),
    max_size=14,
)


@given(pieces=pieces, behind=st.integers(0, 70))
@example(pieces=[b"TAGS\x01TagA"], behind=0)
@example(pieces=[b"A" * 29, b"\x02", b"TAGS\x01x"], behind=40)
@settings(max_examples=200, deadline=None)
def test_tags_are_found_as_by_the_plain_search(pieces, behind):
    text = b"".join(pieces)
    held = np.frombuffer(text + b"\x02TAGS\x01no\x02" * 9, dtype=np.uint8)
    expected = properties.find(address_of(held), len(text), address_of(TAGS), 4)
    found = properties.find_texts(address_of(held), len(text), len(text) + behind)
    assert (found.tags, found.tags_bytes) == expected


@given(pieces=pieces, behind=st.integers(0, 70))
@example(pieces=[b"KEYS\x01a b"], behind=0)
@example(pieces=[b"UNIQ_KEY\x01", b"A" * 29, b"\x02", b"KEYS\x01x"], behind=40)
@settings(max_examples=200, deadline=None)
def test_keys_are_found_as_by_the_plain_search(pieces, behind):
    text = b"".join(pieces)
    held = np.frombuffer(text + b"\x02KEYS\x01no\x02UNIQ_KEY\x01no\x02" * 9, dtype=np.uint8)
    at, size = address_of(held), len(text)
    keys = properties.find(at, size, address_of(KEYS), 4)
    unique = properties.find(at, size, address_of(UNIQUE), 8)
    assert properties.find_texts(at, size, size + behind)[2:] == (*keys, *unique)
