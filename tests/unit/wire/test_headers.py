import dataclasses
from typing import Any

import pytest

from shmq.errors import RequestError
from shmq.wire import admin_headers, consume_headers, naming_headers, send_headers
from shmq.wire.consume_headers import PullHeader, QueryOffsetHeader, SearchOffsetHeader
from shmq.wire.fields import Boundary, parse_boolean, parse_boundary, read_header, write_header
from shmq.wire.send_headers import SendHeader

MODULES = (send_headers, consume_headers, admin_headers, naming_headers)
HEADERS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
]
SEND_FIELDS = {
    "producerGroup": "PG",
    "topic": "T",
    "defaultTopic": "TBW102",
    "defaultTopicQueueNums": "4",
    "queueId": "-1",
    "sysFlag": "0",
    "bornTimestamp": "1700000000000",
    "flag": "0",
}


def written_sample(kind: type) -> dict[str, str]:
    """Return a text for every field that the class declares."""
    return {
        declared.metadata["name"]: sample_text(declared.metadata["parse"])
        for declared in dataclasses.fields(kind)
    }


def sample_text(parse: Any) -> str:
    if parse is parse_boolean:
        return "true"
    return "UPPER" if parse is parse_boundary else "17"


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_writes_what_it_read(kind):
    fields = written_sample(kind)
    assert write_header(read_header(kind, fields)) == fields


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_has_its_required_fields_is_read(kind):
    fields = {
        declared.metadata["name"]: sample_text(declared.metadata["parse"])
        for declared in dataclasses.fields(kind)
        if declared.default is dataclasses.MISSING
    }
    header = read_header(kind, fields)
    for name in fields:
        fewer = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(RequestError, match=name):
            read_header(kind, fewer)
    assert read_header(kind, write_header(header)) == header


def test_a_send_without_its_optional_fields_is_a_single_message():
    header = read_header(SendHeader, SEND_FIELDS)
    assert header.queue_id == -1
    assert header.born_timestamp_ms == 1_700_000_000_000
    assert not header.batch
    assert header.reconsume_times == 0
    assert header.reconsume_times_max is None
    assert header.properties is None


def test_the_short_send_names_are_the_letters_a_to_n():
    header = read_header(
        SendHeader, SEND_FIELDS | {"batch": "true", "bname": "broker-a", "maxReconsumeTimes": "3"}
    )
    short = write_header(header, short=True)
    assert short == {
        "a": "PG",
        "b": "T",
        "c": "TBW102",
        "d": "4",
        "e": "-1",
        "f": "0",
        "g": "1700000000000",
        "h": "0",
        "j": "0",
        "k": "false",
        "l": "3",
        "m": "true",
        "n": "broker-a",
    }
    assert read_header(SendHeader, short, short=True) == header


def test_a_pull_of_an_old_client_has_no_limit_in_bytes():
    fields = written_sample(PullHeader)
    for name in ("maxMsgBytes", "requestSource", "proxyFrowardClientId", "bname", "expressionType"):
        del fields[name]
    assert read_header(PullHeader, fields).message_bytes_max is None


def test_an_offset_query_takes_zero_for_none_unless_told_otherwise():
    fields = {"consumerGroup": "G", "topic": "T", "queueId": "0"}
    assert read_header(QueryOffsetHeader, fields).zero_if_not_found
    assert not read_header(QueryOffsetHeader, fields | {"setZeroIfNotFound": "false"}).zero_if_not_found


def test_an_offset_search_means_the_lower_edge_unless_told_otherwise():
    fields = {"topic": "T", "queueId": "0", "timestamp": "5"}
    assert read_header(SearchOffsetHeader, fields).edge is Boundary.LOWER
    assert read_header(SearchOffsetHeader, fields | {"boundaryType": "UPPER"}).edge is Boundary.UPPER
