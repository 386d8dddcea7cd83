"""Command: the one in-memory form of a remoting command, and its two headers, JSON and binary.

A frame says in the top byte of its second word how its header is written; an answer is written as its
question was. In both headers the command's own fields are text, and their order means nothing.

The binary header, big-endian:

    size  field     meaning
    ----  --------  -------------------------------------------------------------------
       2  code      int16; the pop requests' codes arrive cut to 16 bits
       1  language
       2  version   int16
       4  opaque
       4  flag
       4  remark    its length; 0 for none
       R            UTF-8
       4  fields    their length in all; 0 for none
       E            repeated: int16 length, name, int32 length, value; a length of 0 means absent

Text that is not UTF-8 is read with replacement characters, as Java does; what else cannot be read is the
peer's fault.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import orjson

from shmq.errors import PeerError, RequestError
from shmq.wire.codes import VERSION, Language, RequestCode, ResponseCode
from shmq.wire.frame import FRAME_BYTES_MAX, HEADER_BYTES_MAX, PREFIX_BYTES, Frame

FLAG_RESPONSE: Final = 1
FLAG_ONEWAY: Final = 2

_BINARY_FIXED: Final = struct.Struct(">hbhii")
_INT32: Final = struct.Struct(">i")
_INT16: Final = struct.Struct(">h")
_PREFIX: Final = struct.Struct(">II")
_INT32_MIN: Final = -(1 << 31)
_INT32_MAX: Final = (1 << 31) - 1
# The requests whose codes do not fit 16 bits, by what is left of them. No other request has those numbers.
_WIDE_CODES: Final = {code & 0xFFFF: int(code) for code in RequestCode if code > 0x7FFF}


class Encoding(IntEnum):
    """How a header is written."""

    JSON = 0
    ROCKETMQ = 1


@dataclass(slots=True)
class Command:
    """A request or a response.

    Attributes:
        code: the request code, or the response code.
        opaque: what pairs a response with its request; an int32 that may wrap.
        flag: bit 0 response, bit 1 oneway.
        language: the client library of the sender.
        version: the sender's place in RocketMQ's list of releases.
        remark: free text; the error text of a response.
        fields: the command's own header fields, values always text.
        body: what follows the header.
        encoding: how the header came, or how to write it.
    """

    code: int
    opaque: int = 0
    flag: int = 0
    language: Language = Language.JAVA
    version: int = VERSION
    remark: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""
    encoding: Encoding = Encoding.JSON

    @property
    def is_response(self) -> bool:
        """Whether this answers a request of ours."""
        return self.flag & FLAG_RESPONSE != 0

    @property
    def is_oneway(self) -> bool:
        """Whether the sender wants no answer, not even an error."""
        return self.flag & FLAG_ONEWAY != 0

    def reply(
        self,
        code: int = ResponseCode.SUCCESS,
        remark: str | None = None,
        fields: dict[str, str] | None = None,
        body: bytes | memoryview = b"",
    ) -> "Command":
        """Return the response to this request, to be written as the request was."""
        return Command(
            code=code,
            opaque=self.opaque,
            flag=FLAG_RESPONSE,
            remark=remark,
            fields={} if fields is None else fields,
            body=body,
            encoding=self.encoding,
        )


def decode(frame: Frame) -> Command:
    """Return the command that a frame holds.

    Raises:
        PeerError: its header is neither of the two, or broken.
    """
    encoding = frame.encoding_word >> 24
    if encoding == Encoding.JSON:
        command = _decode_json(frame.header)
    elif encoding == Encoding.ROCKETMQ:
        command = _decode_binary(frame.header)
    else:
        raise PeerError(f"unknown header encoding {encoding}")
    command.body = frame.body
    return command


def encode(command: Command) -> bytes:
    """Return the whole frame of a command, length word included."""
    body = command.body
    return b"".join((encode_head(command, len(body)), body))


def encode_head(command: Command, body_bytes: int) -> bytes:
    """Return the frame of a command up to its body, for a body of body_bytes that is sent from elsewhere.

    Raises:
        RequestError: the frame would be too long for any peer to read.
    """
    header = _encode_json(command) if command.encoding == Encoding.JSON else _encode_binary(command)
    if len(header) > HEADER_BYTES_MAX or PREFIX_BYTES + len(header) + body_bytes > FRAME_BYTES_MAX:
        remark = f"a header of {len(header)} and a body of {body_bytes} bytes do not fit a frame"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    return _PREFIX.pack(4 + len(header) + body_bytes, command.encoding << 24 | len(header)) + header


def _decode_json(header: bytes) -> Command:
    read = _load_json(header)
    if not isinstance(read, dict):
        raise PeerError("the JSON header is not an object")
    remark = read.get("remark")
    fields = read.get("extFields")
    if fields is not None and not isinstance(fields, dict):
        raise PeerError("extFields of the JSON header is not an object")
    return Command(
        code=_int32(read, "code"),
        opaque=_int32(read, "opaque"),
        flag=_int32(read, "flag"),
        language=_language(read.get("language", "JAVA")),
        version=_int32(read, "version"),
        remark=None if remark is None else _text(remark),
        fields={} if not fields else _text_fields(fields),
        encoding=Encoding.JSON,
    )


def _load_json(header: bytes) -> Any:
    try:
        return orjson.loads(header)
    except orjson.JSONDecodeError:
        pass  # text in another character set is read with replacements; all else fails again
    try:
        return orjson.loads(header.decode("utf-8", "replace"))
    except orjson.JSONDecodeError as error:
        raise PeerError(f"the JSON header cannot be read: {error}") from error


def _int32(read: Mapping[str, Any], name: str) -> int:
    """Return a number of the header; absent and null are 0, and a number written as text is a number."""
    value = read.get(name)
    if type(value) is int:
        number = value
    elif value is None:
        return 0
    elif type(value) is str and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 12:
        number = int(value)
    else:
        raise PeerError(f"{name} of the JSON header is not a number")
    if not _INT32_MIN <= number <= _INT32_MAX:
        raise PeerError(f"{name} of the JSON header is out of range: {number}")
    return number


def _language(value: object) -> Language:
    if type(value) is str:
        return Language.__members__.get(value, Language.OTHER)
    if type(value) is int and 0 <= value <= Language.NODE_JS:
        return Language(value)
    return Language.OTHER


def _text_fields(read: dict[str, Any]) -> dict[str, str]:
    """Return the fields with every value as text and those that are null left out.

    The C++ client writes numbers and booleans where others write text.
    """
    for value in read.values():
        if type(value) is not str:
            return {name: _text(value) for name, value in read.items() if value is not None}
    return read


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _encode_json(command: Command) -> bytes:
    header: dict[str, Any] = {
        "code": int(command.code),
        "flag": command.flag,
        "language": command.language.name,
        "opaque": command.opaque,
        "serializeTypeCurrentRPC": "JSON",
        "version": command.version,
    }
    if command.fields:
        header["extFields"] = command.fields
    if command.remark is not None:
        header["remark"] = command.remark
    return orjson.dumps(header, option=orjson.OPT_SORT_KEYS)


def _decode_binary(header: bytes) -> Command:
    try:
        code, language, version, opaque, flag = _BINARY_FIXED.unpack_from(header)
        remark, at = _take_text(header, _BINARY_FIXED.size, _INT32)
        (fields_bytes,) = _INT32.unpack_from(header, at)
    except struct.error as error:
        raise PeerError("the binary header ends early") from error
    if not flag & FLAG_RESPONSE:
        code = _WIDE_CODES.get(code, code)
    at += 4
    return Command(
        code=code,
        opaque=opaque,
        flag=flag,
        language=_language(language),
        version=version,
        remark=remark or None,
        fields=_take_fields(header, at, fields_bytes),
        encoding=Encoding.ROCKETMQ,
    )


def _take_fields(header: bytes, at: int, fields_bytes: int) -> dict[str, str]:
    """Return the fields in header[at : at + fields_bytes]; of two of one name the later one counts."""
    end = at + fields_bytes
    if fields_bytes < 0 or end > len(header):
        raise PeerError(f"the fields of a binary header claim {fields_bytes} bytes")
    fields: dict[str, str] = {}
    try:
        while at < end:
            name, at = _take_text(header, at, _INT16)
            value, at = _take_text(header, at, _INT32)
            fields[name] = value
    except struct.error as error:
        raise PeerError("a field of the binary header ends early") from error
    if at != end:
        raise PeerError("the fields of a binary header end past their length")
    return {name: value for name, value in fields.items() if name and value}


def _take_text(header: bytes, at: int, length: struct.Struct) -> tuple[str, int]:
    """Return the text at at, which its length precedes, and where it ends."""
    (size,) = length.unpack_from(header, at)
    start = at + length.size
    end = start + size
    if size < 0 or end > len(header):
        raise PeerError(f"a text of the binary header claims {size} bytes")
    return header[start:end].decode("utf-8", "replace"), end


def _encode_binary(command: Command) -> bytes:
    remark = b"" if command.remark is None else command.remark.encode()
    parts: list[bytes] = []
    for name, value in command.fields.items():
        name_bytes = name.encode()
        value_bytes = value.encode()
        parts += (_INT16.pack(len(name_bytes)), name_bytes, _INT32.pack(len(value_bytes)), value_bytes)
    fields = b"".join(parts)
    fixed = _BINARY_FIXED.pack(
        _as_int16(command.code), command.language, _as_int16(command.version), command.opaque, command.flag
    )
    return b"".join((fixed, _INT32.pack(len(remark)), remark, _INT32.pack(len(fields)), fields))


def _as_int16(number: int) -> int:
    """Return what 16 bits keep of a number, as Java's cast does."""
    return ((number & 0xFFFF) ^ 0x8000) - 0x8000
