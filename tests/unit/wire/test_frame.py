import struct

import pytest

from shmq.errors import PeerError
from shmq.wire.frame import FRAME_BYTES_MAX, Frame, FrameReader


def framed(header: bytes, body: bytes, encoding: int = 0) -> bytes:
    return struct.pack(">II", 4 + len(header) + len(body), encoding << 24 | len(header)) + header + body


def test_a_whole_frame_comes_out_at_once():
    reader = FrameReader()
    assert reader.feed(framed(b"head", b"body", 1)) == [Frame(1 << 24 | 4, b"head", b"body")]
    assert reader.held_bytes == 0


def test_frames_sent_together_come_out_in_order():
    stream = framed(b"a", b"") + framed(b"", b"b") + framed(b"", b"")
    assert [tuple(frame[1:]) for frame in FrameReader().feed(stream)] == [
        (b"a", b""),
        (b"", b"b"),
        (b"", b""),
    ]


def test_a_frame_in_single_bytes_comes_out_with_its_last_byte():
    reader = FrameReader()
    stream = framed(b"head", b"body")
    for byte in stream[:-1]:
        assert reader.feed(bytes([byte])) == []
    assert reader.held_bytes == len(stream) - 1
    assert reader.feed(stream[-1:]) == [Frame(4, b"head", b"body")]
    assert reader.held_bytes == 0


def test_a_feed_of_nothing_changes_nothing():
    reader = FrameReader()
    assert reader.feed(b"") == []
    reader.feed(framed(b"head", b"body")[:6])
    assert reader.feed(b"") == []
    assert reader.held_bytes == 6


def test_the_largest_frame_is_read_from_small_pieces():
    reader = FrameReader()
    stream = framed(b"h", bytes(FRAME_BYTES_MAX - 9))
    assert len(stream) == FRAME_BYTES_MAX
    frames = [frame for at in range(0, len(stream), 1460) for frame in reader.feed(stream[at : at + 1460])]
    assert [len(frame.body) for frame in frames] == [FRAME_BYTES_MAX - 9]


def test_a_frame_one_byte_too_long_is_refused_by_its_first_word():
    with pytest.raises(PeerError, match="impossible frame length 16777213"):
        FrameReader().feed(struct.pack(">I", FRAME_BYTES_MAX - 3))


def test_a_smaller_limit_is_kept():
    reader = FrameReader(limit_bytes=16)
    assert len(reader.feed(framed(b"head", b"body"))) == 1
    with pytest.raises(PeerError, match="impossible frame length 13"):
        reader.feed(framed(b"head", b"bodyy"))


@pytest.mark.parametrize("total", [-(2**31), -1, 0, 3])
def test_a_length_that_leaves_no_room_for_the_header_word_is_refused(total):
    with pytest.raises(PeerError, match=f"impossible frame length {total}"):
        FrameReader().feed(struct.pack(">i", total))


def test_a_header_longer_than_its_frame_is_refused_before_the_frame_is_whole():
    with pytest.raises(PeerError, match="impossible header length 97"):
        FrameReader().feed(struct.pack(">II", 100, 1 << 24 | 97))


def test_a_header_that_fills_its_frame_is_accepted():
    assert FrameReader().feed(struct.pack(">II", 7, 3) + b"abc") == [Frame(3, b"abc", b"")]


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "a TLS hello"),
        (b"GET / HTTP/1.1\r\n", "an HTTP request"),
        (b"POST /x HTTP/1.1\r\n", "an HTTP request"),
        (b"PRI * HTTP/2.0\r\n", "an HTTP/2 preface"),
        (b"PROXY TCP4 ", "a PROXY protocol header"),
        (b"\r\n\r\n\x00\r\nQUIT\n", "a PROXY protocol header"),
        (b"SSH-2.0-OpenSSH", "an SSH banner"),
    ],
)
def test_another_protocol_is_named(start, name):
    with pytest.raises(PeerError, match=f"looks like {name}"):
        FrameReader().feed(start)


def test_a_foreign_start_in_single_bytes_is_named_at_the_fourth():
    reader = FrameReader()
    for byte in b"GET":
        assert reader.feed(bytes([byte])) == []
    with pytest.raises(PeerError, match="HTTP"):
        reader.feed(b" ")
