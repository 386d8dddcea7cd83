"""The parser against `wire.command`: what it takes means the same."""

import ctypes
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.errors import PeerError
from shmq.fastpath import request
from shmq.fastpath.parsing import parse
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64
from shmq.wire.command import Command, decode
from shmq.wire.frame import FrameReader
from tests.golden.test_wire_frames import GOLDEN
from tests.support.frames import BINARY, Placed, binary_header, damaged, frame_of, json_headers

_block = np.zeros(request.SIZE, dtype=np.uint8)
REQUEST = address_of(_block)

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.text('aä€\U0001f600\x01\x02"\\/\n\x7f', max_size=80),
    st.sampled_from(["true", "false", "null", "0", "-1", "1700000000000", "x" * 31, "y" * 32, "z" * 65]),
    st.integers(-(1 << 40), 1 << 40).map(str),
)
FIELD_NAMES = st.sampled_from([*request.NAMES, "unknown", "o", "", "topics", "ns", "tópic"])
FIELDS = st.lists(st.tuples(FIELD_NAMES, TEXTS), max_size=16)
NUMBERS = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 33), 1 << 33).map(str), st.none()
)
MEMBERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["code", "flag", "opaque", "version"]), NUMBERS),
        st.tuples(st.sampled_from(["language", "serializeTypeCurrentRPC", "remark", "codes", "z"]), TEXTS),
    ),
    max_size=8,
)


def parsed(frame):
    """What the kernel makes of a frame, as the protocol's command; None where it leaves it to Python."""
    placed = Placed(frame)
    if not parse(REQUEST, placed.address, placed.size_bytes):
        return None
    present = {
        name: _text(field_id) for name, field_id in request.NAMES.items() if request.has(REQUEST, field_id)
    }
    body = load_native_i64(REQUEST + request.BODY) - placed.address
    assert body + load_native_i64(REQUEST + request.BODY_BYTES) == len(frame)
    return (
        *(
            load_native_i64(REQUEST + at)
            for at in (request.CODE, request.FLAG, request.OPAQUE, request.VERSION)
        ),
        load_native_i64(REQUEST + request.ENCODING),
        present,
        frame[body:],
    )


def _text(field_id):
    address, size_bytes = request.field(REQUEST, field_id)
    assert size_bytes >= 0
    return ctypes.string_at(address, size_bytes).decode()


def decoded(frame):
    """The same of `wire.command`; None where it can make nothing of the frame."""
    try:
        command: Command = decode(FrameReader().feed(frame)[0])
    except PeerError:
        return None
    known = {name: value for name, value in command.fields.items() if name in request.NAMES}
    return (
        *(command.code, command.flag, command.opaque, command.version, int(command.encoding)),
        known,
        command.body,
    )


def check(frame):
    """Whether the kernel took a frame; what it takes must mean the same."""
    taken = parsed(frame)
    if taken is not None:
        assert taken == decoded(frame)
    return taken is not None


@settings(max_examples=200, deadline=None)  # the first call compiles
@given(st.data(), MEMBERS, st.one_of(st.none(), FIELDS), st.binary(max_size=20))
def test_a_json_header_means_what_the_protocol_says(data, members, fields, body):
    frame = frame_of(data.draw(json_headers(members, fields)), body)
    is_taken = check(frame)
    if decoded(frame) is not None and all(isinstance(value, int) for _, value in members):
        names = [name for name, _ in fields or ()]
        assert is_taken == all(name.isascii() for name in names)


@settings(max_examples=200, deadline=None)
@given(FIELDS, st.integers(-(1 << 15), (1 << 15) - 1), st.binary(max_size=4), st.binary(max_size=9))
def test_a_binary_header_means_what_the_protocol_says(fields, code, remark, body):
    pairs = [(name.encode(), value.encode()) for name, value in fields]
    frame = frame_of(binary_header(code, pairs, remark=remark), body, BINARY)
    if decoded(frame)[0] == code:  # the pop requests have codes that are cut
        assert check(frame)


@settings(max_examples=200, deadline=None)
@given(st.data(), MEMBERS, FIELDS, st.booleans())
def test_a_damaged_header_is_taken_for_what_it_is_or_left(data, members, fields, is_binary):
    if is_binary:
        header = binary_header(310, [(name.encode(), value.encode()) for name, value in fields])
    else:
        header = data.draw(json_headers(members, fields))
    check(frame_of(data.draw(damaged(header)), b'","a":"b"}}', BINARY if is_binary else 0))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["send_json", "send_binary"]))
def test_a_damaged_golden_frame_is_taken_for_what_it_is_or_left(data, name):
    golden = GOLDEN[name]
    header = golden[8 : 8 + int.from_bytes(golden[5:8])]
    check(frame_of(data.draw(damaged(header)), b"Hello", golden[4]))


@pytest.mark.parametrize("name", ["send_json", "send_binary", "send_response", "pull_response"])
def test_golden_frames_are_taken(name):
    assert check(GOLDEN[name])


@pytest.mark.parametrize(
    "header",
    [
        b'{"code":310,"extFields":{"a":"1","a":"2"}}',
        b'{"code":310,"extFields":{"a":"1","a":null}}',
        b'{"code":310,"extFields":{"a":"1"},"extFields":{"b":"2"}}',
        b'{"code":310,"extFields":{"a":"1"},"extFields":null}',
        b'{"code":310,"extFields":{}}',
        b'{"code":"310","opaque":"-7","flag":null}',
        b'{"code":310,"code":311}',
        b'{"code":310,"extFields":{"e":1,"k":false,"m":true}}',
        b'{"code":310,"extFields":{"a":"\\ud83d\\ude00\\u00e9\\u20ac\\u0041\\/\\b\\f\\n\\r\\t\\"\\\\"}}',
        '{"code":310,"extFields":{"a":"é€\U0001f600"}}'.encode(),
        b'{"extFields":{"a":"1", "b":"2",\n"c":"3" ,"d":"4"}}',
        b' {\t"code" :\n310 , "extFields" : { "a" : "1" , "topic" : "T" } } ',
        b"{}",
    ],
)
def test_ordinary_headers_are_taken(header):
    assert check(frame_of(header))


@pytest.mark.parametrize(
    "header",
    [
        b'{"code":310,}',
        b'{"code":310}}',
        b'{"code":310}x',
        b'{"code":01}',
        b'{"code":1.0}',
        b'{"code":1e2}',
        b'{"code":true}',
        b'{"code":"+5"}',
        b'{"code":2147483648}',
        b'{"extFields":{"a":-0}}',
        b'{"extFields":{"a":01}}',
        b'{"extFields":{"a":1.5}}',
        b'{"extFields":{"a":[]}}',
        b'{"extFields":{"a":{}}}',
        b'{"extFields":[]}',
        b'{"extFields":{"a":"1",}}',
        b'{"extFields":{"a":"\\ud83d"}}',
        b'{"extFields":{"a":"\\ude00"}}',
        b'{"extFields":{"a":"\\ud83d\\u0041"}}',
        b'{"extFields":{"a":"\\x"}}',
        b'{"extFields":{"a":"\\u00g0"}}',
        b'{"extFields":{"a":"\x01"}}',
        b'{"extFields":{"a":"\xc0\x80"}}',
        b'{"extFields":{"a":"\xed\xa0\x80"}}',
        b'{"extFields":{"a":"1"',
        b'{"extFields":{"a":"1',
        b'{"extFields":{"a":"1\\',
        b'{"extFields":{"a":tru}}',
        b'{"extFields":{"a":nulll}}',
        b'{"extFields":{"\\u0061":"1"}}',
        b'{"remark":{}}',
        b"[]",
        b"",
        b"null",
    ],
)
def test_what_is_not_ordinary_is_left_to_python(header):
    assert parsed(frame_of(header, b'"}}    ')) is None


def test_a_header_too_long_is_left_to_python():
    text = "x" * (request.HEADER_BYTES_MAX - 40)
    header = json.dumps({"code": 1, "extFields": {"a": text}}, separators=(",", ":")).encode()
    assert check(frame_of(header))
    long = header + b" " * (request.HEADER_BYTES_MAX + 1 - len(header))
    assert parsed(frame_of(long)) is None


def test_a_header_of_escapes_fills_the_arena_and_no_more():
    text = "\\u0001" * (request.HEADER_BYTES_MAX // 12)
    assert check(frame_of(b'{"extFields":{"a":"%s","b":"%s"}}' % (text.encode()[:-60], text.encode()[:-60])))


def test_an_unknown_encoding_is_left_to_python():
    assert parsed(frame_of(b"{}", encoding=2)) is None
