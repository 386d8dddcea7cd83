"""The JSON of RocketMQ's bodies: standard JSON, and three forms of fastjson that are not.

    {0:"h:10911"}                                       map keys that are numbers, unquoted
    {{"brokerName":"b","queueId":0,"topic":"T"}:5}      map keys that are objects
    {"$ref":"$.dataVersion"}                            "the same object as there"

Nearly every body is standard, so orjson reads it; what it refuses is read again by the tolerant reader here.
Read, every key is text: a number its digits, an object its JSON. References are followed, and those that lead
round in a circle become null. Written, numbers and objects as keys are placed as fragments into what orjson
writes; references are never written. Members are sorted by name, without blanks.
"""

import re
from collections.abc import Iterable, Mapping
from json import JSONDecoder
from typing import Any, Final

import orjson

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

DEPTH_MAX: Final = 128  # of what the tolerant reader takes; no body of RocketMQ comes near

_BLANKS: Final = re.compile(r"[ \t\r\n\f\b]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BARE_KEY: Final = re.compile(r"-?[0-9]+|[A-Za-z_$][A-Za-z0-9_$]*")
_LITERAL: Final = re.compile(r"true|false|null")
_LITERALS: Final = {"true": True, "false": False, "null": None}
# One step of a reference: .name, with a backslash before what is neither letter nor digit; or [index].
_STEP: Final = re.compile(r"\.((?:[^.\[\\]|\\.)+)|\[(?:([0-9]+)|\"([^\"]*)\"|'([^']*)')\]", re.DOTALL)
_UNRESOLVED: Final = object()
_STRINGS: Final = JSONDecoder(strict=False)  # for its strings only; control characters may stand bare


def loads(body: bytes | memoryview) -> Any:
    """Return what a body says.

    Raises:
        RequestError: INVALID_PARAMETER: it is not JSON, not even fastjson's.
    """
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        read = read_tolerantly(bytes(body).decode("utf-8", "replace"))
    if b"$ref" in bytes(body):
        return _Resolver(read).resolve(read)
    return read


def dumps(value: Any) -> bytes:
    """Return a value as JSON, its members sorted."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def number_keyed(entries: Mapping[int, Any]) -> orjson.Fragment:
    """Return a map whose keys are written as bare numbers, to be placed in a value for dumps()."""
    members = (b"%d:%s" % (key, dumps(entries[key])) for key in sorted(entries))
    return orjson.Fragment(b"{" + b",".join(members) + b"}")


def object_keyed(entries: Iterable[tuple[Mapping[str, Any], Any]]) -> orjson.Fragment:
    """Return a map whose keys are written as objects, to be placed in a value for dumps()."""
    members = sorted(dumps(key) + b":" + dumps(value) for key, value in entries)
    return orjson.Fragment(b"{" + b",".join(members) + b"}")


def is_shallow(value: Any, depth: int = DEPTH_MAX) -> bool:
    """Return whether a value is nested at most depth deep, so that it can be written and walked."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(is_shallow(member, depth - 1) for member in members)
    return True


def read_tolerantly(document: str) -> Any:
    """Return what a document in fastjson's dialect says; references are left as they stand.

    Raises:
        RequestError: INVALID_PARAMETER.
    """
    reader = _Reader(document)
    try:
        value, at = reader.value(reader.blanks(0), DEPTH_MAX)
    except ValueError as error:
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"the body is not JSON: {error}") from error
    if reader.blanks(at) != len(document):
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"the body goes on after its JSON, at {at}")
    return value


class _Reader:
    """A recursive-descent reader: each method takes where a thing starts and returns it and where it ends."""

    def __init__(self, document: str) -> None:
        self._document = document

    def blanks(self, at: int) -> int:
        """Return where the blanks at at end."""
        found = _BLANKS.match(self._document, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """Read any value."""
        start = self._document[at : at + 1]
        if start == "{":
            return self._object(at + 1, self._deeper(depth))
        if start == "[":
            return self._array(at + 1, self._deeper(depth))
        if start == '"':
            return self._string(at)
        literal = _LITERAL.match(self._document, at)
        if literal:
            return _LITERALS[literal[0]], literal.end()
        number = _NUMBER.match(self._document, at)
        if not number:
            raise ValueError(f"no value at {at}")
        return _number(number), number.end()

    def _deeper(self, depth: int) -> int:
        if not depth:
            raise ValueError("it is nested too deeply")
        return depth - 1

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        at = self.blanks(at)
        if self._document[at : at + 1] == "}":
            return members, at + 1
        while True:
            key, at = self._key(at, depth)
            at = self._expect(":", at)
            members[key], at = self.value(at, depth)
            at = self.blanks(at)
            if self._document[at : at + 1] == "}":
                return members, at + 1
            at = self._expect(",", at)

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        at = self.blanks(at)
        if self._document[at : at + 1] == "]":
            return items, at + 1
        while True:
            item, at = self.value(at, depth)
            items.append(item)
            at = self.blanks(at)
            if self._document[at : at + 1] == "]":
                return items, at + 1
            at = self._expect(",", at)

    def _key(self, at: int, depth: int) -> tuple[str, int]:
        start = self._document[at : at + 1]
        if start == '"':
            return self._string(at)
        if start == "{":
            key, at = self._object(at + 1, self._deeper(depth))
            return dumps(key).decode(), at
        bare = _BARE_KEY.match(self._document, at)
        if not bare:
            raise ValueError(f"no name at {at}")
        return bare[0], bare.end()

    def _string(self, at: int) -> tuple[str, int]:
        text, at = _STRINGS.raw_decode(self._document, at)
        if not text.isascii():
            # Half of a surrogate pair may be read, yet not written.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text, at

    def _expect(self, mark: str, at: int) -> int:
        at = self.blanks(at)
        if self._document[at : at + 1] != mark:
            raise ValueError(f"no {mark!r} at {at}")
        return self.blanks(at + 1)


class _Resolver:
    """Follow references; each object that is referred to is resolved once, and shared."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._resolved: dict[int, Any] = {}

    def resolve(self, value: Any, depth: int = DEPTH_MAX) -> Any:
        """Return the value with every reference in it replaced by what it refers to."""
        if not isinstance(value, dict | list):
            return value
        if not depth:
            raise RequestError(ResponseCode.INVALID_PARAMETER, "the body is nested too deeply")
        if isinstance(value, list):
            return [self.resolve(item, depth - 1) for item in value]
        if len(value) == 1 and isinstance(value.get("$ref"), str):
            return self._follow(value["$ref"], depth - 1)
        return {key: self.resolve(member, depth - 1) for key, member in value.items()}

    def _follow(self, path: str, depth: int) -> Any:
        target = self._find(path)
        if not isinstance(target, dict | list):
            return target
        known = self._resolved.get(id(target), _UNRESOLVED)
        if known is not _UNRESOLVED:
            return known
        self._resolved[id(target)] = None  # what a circle comes back to
        self._resolved[id(target)] = resolved = self.resolve(target, depth)
        return resolved

    def _find(self, path: str) -> Any:
        """Return what lies at `$.name[index]`, or None."""
        if not path.startswith("$"):
            return None  # "..", "@": the parent, the object itself: circles
        at = 1
        found = self._root
        while at < len(path):
            step = _STEP.match(path, at)
            if not step:
                return None
            name, index, *quoted = step.groups()
            at = step.end()
            key = re.sub(r"\\(.)", r"\1", name) if name else index or quoted[0] or quoted[1]
            found = _step_into(found, key)
        return found


def _number(found: re.Match[str]) -> int | float:
    """Return the number in the text; a whole one past 64 bits as a float, as orjson has it."""
    if not (found[1] or found[2]):
        whole = int(found[0])
        if -(1 << 63) <= whole < 1 << 64:
            return whole
    return float(found[0])


def _step_into(value: Any, key: str | None) -> Any:
    if key is None:
        return None
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None
