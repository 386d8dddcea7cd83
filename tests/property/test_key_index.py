"""The key index agrees with its specification in plain Python: byte for byte, and in what is found."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.store.key_index import FIRST_NUMBER, Key, Wanted, put, select, slot_at
from shmq.store.key_query import KeyIndexReader, KeyQuery, hash_of_key
from shmq.store.key_shape import KeyIndexShape
from shmq.wire.message import decode_messages
from tests.support.key_index_model import HEADER, KeyIndexModel, key_hash
from tests.support.small_store import SmallStore

MS = 1_700_000_000_000
KEYS = (
    "T#a",
    "T#b",
    "T#Aa",
    "T#BB",
    "T#订单",
    "polygenelubricants",
)  # the 3rd and 4th have one hash, the last has 0
SHAPES = st.builds(KeyIndexShape, st.integers(3, 7), st.integers(2, 12))
PAUSES = st.integers(0, 2500) | st.sampled_from([0, 1, 999, 1000, 10**7])
RISING = st.lists(st.tuples(st.sampled_from(KEYS), PAUSES), max_size=40)
NEAR = st.tuples(
    st.integers(0, 39), st.integers(-2, 2) | st.integers(-2000, 2000)
)  # a record, and ms from its time
FIRST_MS, LAST_MS = -(1 << 63), (1 << 63) - 1


def hashed(text):
    encoded = np.frombuffer(text.encode(), dtype=np.uint8)
    return hash_of_key(address_of(encoded), len(encoded))


class Files:
    """Files that the kernel fills, each begun as the specification says."""

    def __init__(self, shape):
        self.shape = shape
        self.files = []

    def put(self, text, position, store_ms):
        header = HEADER.unpack_from(self.files[-1]) if self.files else (0,) * 5 + (self.shape.entries,)
        if header[5] >= self.shape.entries:
            made = np.zeros(self.shape.file_bytes, dtype=np.uint8)
            _, end_ms, _, end_position, _, _ = header
            HEADER.pack_into(made, 0, end_ms, end_ms, end_position, end_position, 0, FIRST_NUMBER)
            self.files.append(made)
        key_hash, slots = hashed(text), self.shape.slots
        key = Key(key_hash, slot_at(slots, key_hash), position, store_ms)
        put(address_of(self.files[-1]), slots, key)

    def select(self, index, wanted, most):
        found = np.zeros(most, dtype=np.int64)
        count = select(address_of(self.files[index]), self.shape.slots, wanted, address_of(found), most)
        return found[:count].tolist()


def filled(shape, puts):
    """The same in our files and in the model's."""
    ours, model = Files(shape), KeyIndexModel(*shape)
    for position, (text, store_ms) in enumerate(puts):
        ours.put(text, 100 * position, store_ms)
        model.put(text, 100 * position, store_ms)
    return ours, model


def rising_times(pauses):
    """Each text with a time; the pauses lie between these."""
    times = itertools.accumulate((pause_ms for _, pause_ms in pauses), initial=MS)
    return [(text, store_ms) for (text, _), store_ms in zip(pauses, times, strict=False)]


def moment(puts, near, otherwise):
    """The time that is so near a record's; another one where there is no such record."""
    number, distance_ms = near
    return puts[number][1] + distance_ms if number < len(puts) else otherwise


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_hashes_as_the_text_does(text):
    assert hashed(text) == key_hash(text)


@given(SHAPES, st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 1 << 45)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_every_byte_is_the_specifications_whatever_the_times(shape, puts):
    ours, model = filled(shape, puts)
    assert [bytes(file) for file in ours.files] == [bytes(file.content) for file in model.files]


@given(SHAPES, RISING, st.sampled_from(KEYS), NEAR, NEAR, st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_a_file_gives_the_newest_positions_of_a_hash_and_time(shape, pauses, text, begin, end, most):
    puts = rising_times(pauses)
    ours, model = filled(shape, puts)
    wanted = Wanted(key_hash(text), moment(puts, begin, FIRST_MS), moment(puts, end, LAST_MS))
    for index, file in enumerate(model.files):
        assert ours.select(index, wanted, most) == file.candidates(*wanted)[:most]


@given(SHAPES, RISING, st.sampled_from(KEYS[:5]), NEAR, NEAR, st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_a_query_finds_what_the_specification_does_to_the_millisecond(shape, pauses, text, begin, end, most):
    with tempfile.TemporaryDirectory() as root:
        store = SmallStore(Path(root), log_file_bytes=1 << 16)
        model = KeyIndexModel(*shape)
        puts = rising_times(pauses)
        for put_text, store_ms in puts:
            position, _ = store.append(store_ms=store_ms)
            model.put(put_text, position, store_ms)
        model.write(Path(root) / "index")
        reader = KeyIndexReader(Path(root) / "index", shape, store.log)
        begin_ms, end_ms = moment(puts, begin, FIRST_MS), moment(puts, end, LAST_MS)
        query = KeyQuery(*text.split("#"), most, 1 << 24, begin_ms, end_ms)
        messages = decode_messages(b"".join(reader.find(query, 0, store.end).messages))
        assert [each.position for each in messages] == model.query(text, begin_ms, end_ms, most)
        reader.close()
        store.log.close()
