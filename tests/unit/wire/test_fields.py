import pytest

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode
from shmq.wire.fields import (
    Boundary,
    boolean,
    boundary,
    decimal,
    header,
    int32,
    int64,
    parse_boolean,
    parse_int32,
    parse_int64,
    read_header,
    text,
    write_header,
)


@header
class Sample:
    topic: str = text("topic", "b")
    queue_id: int = int32("queueId", "e")
    offset: int = int64("offset", default=-1)
    batch: bool = boolean("batch", "m", default=False)
    rate: float | None = decimal("rate", default=None)
    edge: Boundary = boundary("boundaryType", default=Boundary.LOWER)
    note: str | None = text("note", default=None)


def test_a_header_is_read_by_its_long_names():
    fields = {
        "topic": "T",
        "queueId": "-3",
        "offset": "9223372036854775807",
        "batch": "TRUE",
        "rate": "0.5",
        "boundaryType": "upper",
        "note": "",
    }
    assert read_header(Sample, fields) == Sample(
        topic="T", queue_id=-3, offset=2**63 - 1, batch=True, rate=0.5, edge=Boundary.UPPER, note=""
    )


def test_a_header_is_read_by_its_short_names():
    read = read_header(Sample, {"b": "T", "e": "1", "m": "true", "offset": "5"}, short=True)
    assert read == Sample(topic="T", queue_id=1, batch=True, offset=5)


def test_a_header_is_written_under_both_names_without_what_is_none():
    sample = Sample(topic="T", queue_id=1)
    long_names = {"topic": "T", "queueId": "1", "offset": "-1", "batch": "false", "boundaryType": "LOWER"}
    short_names = {"b": "T", "e": "1", "offset": "-1", "m": "false", "boundaryType": "LOWER"}
    assert write_header(sample) == long_names
    assert write_header(sample, short=True) == short_names


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"queueId": "1"}, "topic"),
        ({"topic": "T"}, "queueId"),
        ({"topic": "T", "queueId": ""}, "queueId"),
        ({"topic": "T", "queueId": "x"}, "queueId"),
        ({"topic": "T", "queueId": "2147483648"}, "queueId"),
        ({"topic": "T", "queueId": "1", "offset": "1.0"}, "offset"),
        ({"topic": "T", "queueId": "1", "rate": "nan"}, "rate"),
        ({"topic": "T", "queueId": "1", "rate": "fast"}, "rate"),
    ],
)
def test_a_field_that_is_missing_or_no_number_is_an_invalid_parameter(fields, named):
    with pytest.raises(RequestError, match=named) as caught:
        read_header(Sample, fields)
    assert caught.value.code == ResponseCode.INVALID_PARAMETER


def test_an_empty_optional_number_takes_its_default():
    assert read_header(Sample, {"topic": "T", "queueId": "1", "offset": ""}).offset == -1


@pytest.mark.parametrize("written", ["", "+", "-", " 1", "1 ", "1_0", "0x1", "1L", "--1", "²", "9" * 5000])
def test_what_java_does_not_read_as_a_number_is_none(written):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's to name
        parse_int64(written)


@pytest.mark.parametrize(("written", "number"), [("+5", 5), ("-2147483648", -(2**31)), ("007", 7)])
def test_signs_and_leading_zeros_are_read(written, number):
    assert parse_int32(written) == number


@pytest.mark.parametrize(("written", "truth"), [("true", True), ("True", True), ("1", False), ("yes", False)])
def test_only_true_is_true(written, truth):
    assert parse_boolean(written) is truth
