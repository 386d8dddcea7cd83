"""Frames at addresses, as the reactor gives them to the fast path's kernels; and many ways to write one header."""

import json
import struct

import numpy as np
from hypothesis import strategies as st

from shmq.fastpath import request
from shmq.memory.block import address_of

JSON, BINARY = 0, 1


class Placed:
    """Bytes at an address, with the spare bytes behind them that kernels may read."""

    def __init__(self, content, spare=b"\xff"):
        self._array = np.frombuffer(content + spare * request.SPARE_BYTES, dtype=np.uint8)
        self.address = address_of(self._array)
        self.size_bytes = len(content)


def frame_of(header, body=b"", encoding=JSON):
    """A frame around an encoded header."""
    return struct.pack(">II", 4 + len(header) + len(body), encoding << 24 | len(header)) + header + body


def binary_header(code, fields, *, opaque=7, flag=0, version=479, remark=b""):
    """A binary header of fields, given as pairs of bytes: some may have the same name."""
    written = b"".join(
        struct.pack(">h", len(name)) + name + struct.pack(">i", len(value)) + value for name, value in fields
    )
    fixed = struct.pack(">hbhii", code, 0, version, opaque, flag)
    return fixed + struct.pack(">i", len(remark)) + remark + struct.pack(">i", len(written)) + written


BLANKS = st.text(" \t\r\n", max_size=2)


@st.composite
def json_texts(draw, text):
    """One of the ways to write a string: any character may be escaped."""
    written = []
    for character in text:
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        units = character.encode("utf-16-be", "surrogatepass")
        escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
        kind = draw(st.sampled_from("ppppppueU"))
        if kind == "u":
            written.append(escaped)
        elif kind == "U":
            written.append("\\u" + escaped[2:].upper().replace("\\U", "\\u"))
        else:
            written.append(plain)
    return '"' + "".join(written) + '"'


@st.composite
def json_headers(draw, members, fields):
    """One of the ways to write a header: members, and fields, in any order, some of them twice, some as numbers."""
    parts = draw(_members(members))
    if fields is not None:
        written = draw(_members(fields))
        parts = [*parts, ("extFields", "{" + draw(_joined(written)) + "}")]
    parts = draw(st.permutations(parts))
    return (draw(BLANKS) + "{" + draw(_joined(parts)) + "}" + draw(BLANKS)).encode()


@st.composite
def _members(draw, given):
    """Names with their values as JSON text."""
    parts = []
    for name, value in given:
        if isinstance(value, str):
            is_scalar = value in ("true", "false", "null") or _is_number(value)
            as_text = not is_scalar or draw(st.booleans())
            parts.append((name, draw(json_texts(value)) if as_text else value))
        else:
            parts.append((name, json.dumps(value)))
    return parts


@st.composite
def _joined(draw, parts):
    blank = BLANKS if draw(st.booleans()) else st.just("")
    written = []
    for name, value in parts:
        written.append(f'{draw(blank)}"{name}"{draw(blank)}:{draw(blank)}{value}{draw(blank)}')
    return ",".join(written) or draw(blank)


@st.composite
def damaged(draw, content):
    """Bytes with some of them changed, taken out or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = draw(st.sampled_from(("change", "cut", "insert", "repeat", "end")))
        byte = draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b'"\\{}:,0123456789truefalsnl-+.eE \x00\x80\xff'))
        )
        if not changed or kind == "insert":
            changed.insert(at, byte)
        elif kind == "change":
            changed[at] = byte
        elif kind == "cut":
            del changed[at : at + draw(st.integers(1, 8))]
        elif kind == "end":
            del changed[at:]
        else:
            size = draw(st.integers(1, 16))
            changed[at:at] = changed[at : at + size]
    return bytes(changed)


def _is_number(value):
    return value.isascii() and value.removeprefix("-").isdigit() and str(int(value)) == value
