import pyarrow as pa
import pytest

from shmq.jit import JIT_ENABLED
from shmq.store.arrow import SCHEMA
from shmq.store.scanning import scan
from tests.support.hand_log import HandLog, new_record


def arrow_of(root, *records, columns=None):
    log = HandLog(1 << 16)
    for new in records:
        log.append(new)
    log.write(root)
    (batch,) = scan(root)
    made = batch.to_arrow(columns)
    made.validate(full=True)
    return made


def test_a_message_without_properties_has_nulls_and_empty_lists(tmp_path):
    made = arrow_of(
        tmp_path, new_record(b"T", b"hello"), columns=["tag", "unique_id", "keys", "properties", "body"]
    )
    assert made.to_pylist() == [
        {"tag": None, "unique_id": None, "keys": [], "properties": [], "body": b"hello"}
    ]


def test_the_last_of_one_name_counts_in_the_place_of_the_first(tmp_path):
    pairs = (
        b"a\x011\x02TAGS\x01x\x02b\x012\x02a\x013\x02TAGS\x01y\x02c\x01\x02\x01d\x02KEYS\x01 k  l \x02e\x014"
    )
    made = arrow_of(tmp_path, new_record(properties=pairs), columns=["tag", "keys", "properties"])
    assert made.to_pylist() == [
        {"tag": "y", "keys": ["k", "l"], "properties": [("a", "3"), ("b", "2"), ("e", "4")]}
    ]


def test_bytes_that_are_no_text_are_replaced(tmp_path):
    pairs = b"TAGS\x01\xff\x02KEYS\x01a\xc3 b\x02n\xed\xa0\x80\x01\xf0\x9f\x98\x80\xef\xbf\xbd12345678\x02"
    made = arrow_of(tmp_path, new_record(properties=pairs), columns=["tag", "keys", "properties"])
    assert made.to_pylist() == [
        {"tag": "\ufffd", "keys": ["a\ufffd", "b"], "properties": [("n\ufffd", "😀\ufffd12345678")]}
    ]


def test_the_worst_text_has_room(tmp_path):
    """Each byte becomes three, up to the most that a record has."""
    worst = b"KEYS\x01" + b"\xff" * (32767 - 5)
    made = arrow_of(tmp_path, new_record(properties=worst), columns=["keys"])
    assert made.to_pylist() == [{"keys": ["\ufffd" * 32762]}]


@pytest.mark.skipif(not JIT_ENABLED, reason="each name is held against all others, slowly in plain Python")
def test_as_many_pairs_as_fit_have_room(tmp_path):
    names = [chr(3 + number // 100) + chr(3 + number % 100) for number in range(32767 // 5)]
    pairs = "".join(f"{name}\x01v\x02" for name in names).encode()
    made = arrow_of(tmp_path, new_record(properties=pairs), columns=["properties"])
    assert made.column("properties")[0].as_py() == [(name, "v") for name in names]


def test_topics_are_a_dictionary(tmp_path):
    made = arrow_of(tmp_path, *(new_record(topic) for topic in (b"B", b"A", b"B")), columns=["topic"])
    assert made.column("topic").type == pa.dictionary(pa.int32(), pa.string())
    assert made.column("topic").dictionary.to_pylist() == ["B", "A"]
    assert made.column("topic").to_pylist() == ["B", "A", "B"]


def test_columns_come_in_the_order_asked_for(tmp_path):
    assert arrow_of(tmp_path, new_record()).schema == SCHEMA
    assert arrow_of(tmp_path, new_record(), columns=["body", "position"]).schema.names == ["body", "position"]


@pytest.mark.parametrize("columns", [["size"], ["body", "body"]])
def test_columns_that_are_none_are_told(tmp_path, columns):
    with pytest.raises(ValueError, match="columns are some of"):
        arrow_of(tmp_path, new_record(), columns=columns)


def test_bodies_are_copies(tmp_path):
    """An Arrow batch does not hold the file."""
    made = arrow_of(tmp_path, new_record(body=b"a"), new_record(body=b"bc" * 100))
    (tmp_path / "commitlog" / ("0" * 20)).unlink()
    assert made.column("body").to_pylist() == [b"a", b"bc" * 100]
    assert made.column("body").type == pa.large_binary()
