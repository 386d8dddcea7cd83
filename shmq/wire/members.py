"""Typed members of a JSON body, read as leniently as fastjson reads them.

A member that is absent or null takes its default, a number may be text and text a number, an enum its name
or its ordinal; what no reading fits is the request's fault.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, TypeVar

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.codes import ResponseCode
from shmq.wire.fields import parse_int64

Object = dict[str, Any]
EnumT = TypeVar("EnumT", bound=IntEnum)


def read_object(body: bytes | memoryview) -> Object:
    """Return the object that a body is."""
    return as_object(fastjson.loads(body), "all of it")


def as_object(value: Any, name: str) -> Object:
    """Return a value that must be an object; null counts as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused(name, "an object")
    return value


def object_of(source: Object, name: str) -> Object:
    """Return a member that is an object, or an empty one."""
    return as_object(source.get(name), name)


def raw_object_of(source: Object, name: str) -> Object:
    """Return a member that is an object, to be handed on as it is."""
    value = object_of(source, name)
    if not fastjson.is_shallow(value):
        raise _refused(name, "shallow enough")
    return value


def objects_of(source: Object, name: str) -> Iterator[Object]:
    """Yield the objects in a member that is an array."""
    for item in array_of(source, name):
        yield as_object(item, name)


def array_of(source: Object, name: str) -> list[Any]:
    """Return a member that is an array, or an empty one."""
    value = source.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _refused(name, "an array")
    return value


def text_of(source: Object, name: str, default: str = "") -> str:
    """Return a member as text."""
    value = source.get(name)
    return default if value is None else as_text(value, name)


def optional_text_of(source: Object, name: str) -> str | None:
    """Return a member as text, or None."""
    value = source.get(name)
    return None if value is None else as_text(value, name)


def texts_of(source: Object, name: str) -> tuple[str, ...]:
    """Return the texts in a member that is an array; nulls are left out."""
    return tuple(as_text(item, name) for item in array_of(source, name) if item is not None)


def text_map_of(source: Object, name: str) -> dict[str, str]:
    """Return a member that maps text to text; nulls are left out."""
    return {key: as_text(value, name) for key, value in object_of(source, name).items() if value is not None}


def integer_of(source: Object, name: str, default: int = 0) -> int:
    """Return a member as a whole number."""
    value = source.get(name)
    return default if value is None or value == "" else as_integer(value, name)


def decimal_of(source: Object, name: str, default: float = 0.0) -> float:
    """Return a member as a floating-point number."""
    value = source.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(name, "a number")
    return float(value)


def boolean_of(source: Object, name: str, *, default: bool = False) -> bool:
    """Return a member as a truth value."""
    value = source.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        return value.lower() in {"true", "1"}
    if not isinstance(value, bool | int):
        raise _refused(name, "a truth value")
    return bool(value)


def enum_of(source: Object, name: str, default: EnumT) -> EnumT:
    """Return a member as an enum, by name or ordinal; one we do not know takes the default, as fastjson's null."""
    value = source.get(name)
    kind = type(default)
    if isinstance(value, str):
        return kind.__members__.get(value.upper(), default)
    if isinstance(value, int) and value in set(kind):
        return kind(value)
    return default


def as_text(value: Any, name: str) -> str:
    """Return a value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _refused(name, "text")


def as_integer(value: Any, name: str) -> int:
    """Return a value as a whole number of 64 bits."""
    try:
        if isinstance(value, str):
            return parse_int64(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return parse_int64(str(value))
    except ValueError:
        pass  # refused below, with all else that is no number
    raise _refused(name, "a whole number")


def _refused(name: str, wanted: str) -> RequestError:
    return RequestError(ResponseCode.INVALID_PARAMETER, f"the body is wrong: {name} is not {wanted}")
