"""The tag that is found 32 bytes at once is the one that is found byte by byte."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.store import properties

TAGS = np.frombuffer(b"TAGS", dtype=np.uint8)
pieces = st.lists(
    st.sampled_from(
        [b"TAGS", b"\x01", b"\x02", b"T", b"A" * 29, b"KEYS\x01k\x02", b"TAGS\x01TagA\x02", b"\xff\x80"]
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
    assert properties.find_tags(address_of(held), len(text), len(text) + behind) == expected
