"""Frames as clients write them, and as no client does: for tests that hold two readers of frames against each other.

They are made by a `random.Random`, since one of them takes more choices than Hypothesis has for a whole example.
"""

import json
import struct

from shmq.wire.command import Command, Encoding, encode

BLANKS = ("", "", "", " ", "\n", "\t ")
ODD_BYTES = b'0123456789-+"\\{}[]:, abcetnu\x00\x1f\x80\xff'
ODD_PIECES = (b"0", b'"', b",", b"\\", b" ", b"-", b"{", b"null", b"\xc3", b"1e3")


def framed(header, encoding=0, body=b"", header_bytes=None):
    """A frame whose length is right, whatever its header is."""
    size = len(header) if header_bytes is None else header_bytes
    return struct.pack(">II", 4 + len(header) + len(body), encoding << 24 | size) + header + body


def written_frame(chance, code, fields, flag=0):
    """A frame in any of the ways in which clients write it.

    Args:
        chance: where choices come from.
        code: the request's.
        fields: its fields, as text by name.
        flag: the command's.
    """
    opaque = chance.choice((0, 7, -1, chance.randrange(-(1 << 31), 1 << 31)))
    names = chance.sample(sorted(fields), len(fields))
    style = chance.choice(("binary", "java", "c++", "loose"))
    if style == "binary":
        ordered = {name: fields[name] for name in names}
        return encode(Command(code, opaque, flag, fields=ordered, encoding=Encoding.ROCKETMQ))
    if style == "java":
        header = {"code": code, "extFields": {name: fields[name] for name in names}, "flag": flag}
        header |= {"language": "JAVA", "opaque": opaque, "serializeTypeCurrentRPC": "JSON", "version": 479}
        return framed(json.dumps(header, separators=(",", ":")).encode())

    def blank():
        return chance.choice(BLANKS) if style == "loose" else ""

    members = [f'"{name}":{blank()}{_value(chance, fields[name], style)}' for name in names]
    if style == "loose" and members and chance.random() < 0.2:
        members.insert(0, chance.choice(members).split(":")[0] + ":null")
    written = "{" + f",{blank()}".join(members) + blank() + "}"
    parts = [
        f'"code":{code}',
        f'"flag":{flag}',
        f'"opaque"{blank()}:{opaque}',
        '"language":"CPP"',
        '"version":396',
    ]
    parts.append(f'"extFields":{blank()}{written}')
    chance.shuffle(parts)
    return framed(("{" + ",".join(parts) + "}" + blank()).encode())


def mutated(chance, frame):
    """A frame with some of its header's bytes changed, added or taken away, its length put right."""
    encoding = frame[4]
    header = bytearray(frame[8:])
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(header) + 1)
        way = chance.choice(("change", "change", "insert", "delete", "cut", "double"))
        if way == "change" and at < len(header):
            header[at] = chance.choice((chance.choice(ODD_BYTES), chance.randrange(256)))
        elif way == "insert":
            header[at:at] = chance.choice(ODD_PIECES)
        elif way == "delete":
            del header[at : at + chance.randint(1, 4)]
        elif way == "cut" and chance.random() < 0.3:
            del header[at:]
        elif way == "double":
            begin = max(at - chance.randrange(40), 0)
            header[at:at] = header[begin:at]
    size = len(header) if chance.random() < 0.9 else chance.randrange(len(header) + 1)
    odd_encoding = chance.choice((encoding,) * 9 + (0, 1, 2))
    return framed(bytes(header), odd_encoding, chance.choice((b"", b"", b"body")), size)


def _value(chance, value, style):
    """A value as JSON: text, text with escapes, or a number where it is one."""
    is_number = value.removeprefix("-").isdigit() and value.isascii() and str(int(value)) == value
    if is_number and chance.random() < 0.5:
        return value
    if style == "loose" and chance.random() < 0.2:
        units = struct.iter_unpack(">H", value.encode("utf-16-be"))
        return '"' + "".join(f"\\u{unit:04x}" for (unit,) in units) + '"'
    return json.dumps(value, ensure_ascii=chance.random() < 0.5)
