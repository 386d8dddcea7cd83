import struct

import pytest

from shmq.errors import RequestError
from shmq.wire.batch import BatchEntry, join_batch, split_batch
from shmq.wire.codes import ResponseCode

BODY = join_batch([BatchEntry(7, b"first", b"a\x01b\x02"), BatchEntry(-1, b"", b"")])


def with_int32(body: bytes, at: int, value: int) -> bytes:
    return body[:at] + struct.pack(">i", value) + body[at + 4 :]


def test_a_batch_gives_its_messages_in_order():
    assert split_batch(BODY) == [BatchEntry(7, b"first", b"a\x01b\x02"), BatchEntry(-1, b"", b"")]


def test_the_parts_of_a_batch_are_views_of_it():
    (first, _) = split_batch(BODY)
    assert isinstance(first.body, memoryview)
    assert first.body.obj is BODY
    assert isinstance(first.properties, memoryview)
    assert first.properties.obj is BODY


def test_a_batch_may_be_a_view_itself():
    assert split_batch(memoryview(b"xx" + BODY)[2:]) == split_batch(BODY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY[:-1],
        BODY + b"\x00",
        BODY[:20],
        with_int32(BODY, 0, 0),
        with_int32(BODY, 0, -1),
        with_int32(BODY, 0, 21),
        with_int32(BODY, 0, 30),
        with_int32(BODY, 0, 32),
        with_int32(BODY, 0, 2**31 - 1),
        with_int32(BODY, 16, -1),
        with_int32(BODY, 16, 4),
        with_int32(BODY, 16, 2**31 - 1),
        BODY[:-2] + b"\x80\x00",
    ],
)
def test_a_batch_whose_lengths_do_not_fit_is_illegal(body):
    with pytest.raises(RequestError) as caught:
        split_batch(body)
    assert caught.value.code == ResponseCode.MESSAGE_ILLEGAL


def test_properties_past_their_length_field_are_not_joined():
    assert len(split_batch(join_batch([BatchEntry(0, b"", bytes(32767))]))) == 1
    with pytest.raises(RequestError):
        join_batch([BatchEntry(0, b"", bytes(32768))])
