"""Receipts, and the texts that they are put together from."""

import pytest

from shmq.broker.names import pop_retry_kind, pop_retry_topic, topic_of_kind
from shmq.errors import RequestError
from shmq.wire.pop_headers import (
    Receipt,
    join_parts,
    read_receipt,
    write_offsets,
    write_order_counts,
    write_receipt,
    write_start_offset,
)

RECEIPT = Receipt(5, 1_700_000_000_000, 60_000, 0, "1", "broker-a", 3, 7)


def test_a_receipt_is_read_as_it_was_written():
    text = write_receipt(RECEIPT)
    assert text == "5 1700000000000 60000 0 1 broker-a 3 7"
    assert read_receipt(text, 7) == RECEIPT


def test_its_last_field_may_be_missing():
    assert read_receipt("5 1700000000000 60000 0 1 broker-a 3", 7) == RECEIPT


def test_a_receipt_of_order_says_so():
    assert read_receipt("5 1 60000 999 0 b 3 7", 7).is_order
    assert not RECEIPT.is_order


@pytest.mark.parametrize("text", ["", "1 2 3", "a 1 2 3 0 b 4 5", "1 2 3 4 0 b x 5"])
def test_what_is_no_receipt_is_refused(text):
    with pytest.raises(RequestError):
        read_receipt(text, 0)


def test_texts_of_several_queues():
    assert write_start_offset("0", 2, 10) == "0 2 10"
    assert write_offsets("0", 2, [10, 12]) == "0 2 10,12"
    assert write_order_counts("0", 2, [(10, 1), (12, 3)], 1) == ["0 qo2%10 1", "0 qo2%12 3", "0 2 1"]
    assert join_parts(["0 1 5", "1 0 6"]) == "0 1 5;1 0 6"


@pytest.mark.parametrize(("v2", "kind", "name"), [(False, "1", "%RETRY%G_T"), (True, "2", "%RETRY%G+T")])
def test_retry_topics_and_their_kinds(v2, kind, name):
    assert pop_retry_topic("T", "G", v2=v2) == name
    assert pop_retry_kind(name) == kind
    assert topic_of_kind("T", "G", kind) == name


def test_kinds_that_are_none():
    assert topic_of_kind("T", "G", "0") == "T"
    assert topic_of_kind("T", "G", "7") is None
    assert pop_retry_kind("T") == "0"
