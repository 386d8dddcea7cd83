"""Header fields between text and typed values.

A header is a class under @header whose fields say what they are on the wire: `topic: str = text("topic", "b")`.
The second name is the one-letter form of the short (V2) send requests. A field without a default is required.
How each class is read is worked out once and kept. Text is parsed as Java parses it: no blanks, no
underscores, decimal digits with an optional sign, within the type's range; every text but `true` is false.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar, dataclass_transform

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

HeaderT = TypeVar("HeaderT")

_INT32_MAX: Final = (1 << 31) - 1
_INT64_MAX: Final = (1 << 63) - 1


class Boundary(Enum):
    """Which end of a run of equal timestamps a search means."""

    LOWER = "LOWER"
    UPPER = "UPPER"


def text(name: str, short: str | None = None, *, default: Any = MISSING) -> Any:
    """Declare a text field."""
    return _declare(name, short, default, str)


def int32(name: str, short: str | None = None, *, default: Any = MISSING) -> Any:
    """Declare a whole number of 32 bits."""
    return _declare(name, short, default, parse_int32)


def int64(name: str, short: str | None = None, *, default: Any = MISSING) -> Any:
    """Declare a whole number of 64 bits."""
    return _declare(name, short, default, parse_int64)


def boolean(name: str, short: str | None = None, *, default: Any = MISSING) -> Any:
    """Declare a truth value."""
    return _declare(name, short, default, parse_boolean)


def decimal(name: str, short: str | None = None, *, default: Any = MISSING) -> Any:
    """Declare a floating-point number."""
    return _declare(name, short, default, parse_decimal)


def boundary(name: str, *, default: Any = MISSING) -> Any:
    """Declare which end of a run of equal timestamps is meant."""
    return _declare(name, None, default, parse_boundary)


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(text, int32, int64, boolean, decimal, boundary),
)
def header(declared: type[HeaderT]) -> type[HeaderT]:
    """Make a class of declared fields a header: frozen, slotted, its fields given by name."""
    return dataclass(frozen=True, slots=True, kw_only=True)(declared)


def read_header(kind: type[HeaderT], given: Mapping[str, str], *, short: bool = False) -> HeaderT:
    """Return a header made of a command's fields; short reads the one-letter names.

    An empty text stands for an absent number, as some clients write one.

    Raises:
        RequestError: INVALID_PARAMETER: a required field is missing, or a number is none.
    """
    values: dict[str, Any] = {}
    for entry in _plan(kind, short):
        written = given.get(entry.name)
        if written is None or (not written and entry.parse is not str):
            if entry.required:
                raise RequestError(ResponseCode.INVALID_PARAMETER, f"the field {entry.name} is missing")
            continue
        try:
            values[entry.attribute] = entry.parse(written)
        except ValueError as error:
            remark = f"the field {entry.name} holds no valid number: {written[:64]!r}"
            raise RequestError(ResponseCode.INVALID_PARAMETER, remark) from error
    return kind(**values)


def write_header(values: object, *, short: bool = False) -> dict[str, str]:
    """Return a header as a command's fields; what is None is left out."""
    written: dict[str, str] = {}
    for entry in _plan(type(values), short):
        value = getattr(values, entry.attribute)
        if value is not None:
            written[entry.name] = value if type(value) is str else _to_text(value)
    return written


def parse_int32(written: str) -> int:
    """Return the number that Java's parseInt reads; ValueError where it reads none."""
    return _parse_integer(written, _INT32_MAX)


def parse_int64(written: str) -> int:
    """Return the number that Java's parseLong reads; ValueError where it reads none."""
    return _parse_integer(written, _INT64_MAX)


def parse_boolean(written: str) -> bool:
    """Return whether the text is `true` in any case."""
    return written.lower() == "true"


def parse_decimal(written: str) -> float:
    """Return a finite floating-point number; ValueError where the text is none."""
    number = float(written)
    if "_" in written or not math.isfinite(number):
        raise ValueError(written)
    return number


def parse_boundary(written: str) -> Boundary:
    """Return UPPER for `upper` in any case, else LOWER."""
    return Boundary.UPPER if written.upper() == "UPPER" else Boundary.LOWER


class _Entry(NamedTuple):
    """How one field of a header is read."""

    attribute: str
    name: str
    parse: Callable[[str], Any]
    required: bool


_PLANS: Final[dict[tuple[type, bool], tuple[_Entry, ...]]] = {}


def _plan(kind: type, short: bool) -> tuple[_Entry, ...]:
    """Return how to read a header class; fields without a one-letter name keep their long one."""
    plan = _PLANS.get((kind, short))
    if plan is None:
        plan = _PLANS[kind, short] = tuple(_entry(declared, short) for declared in fields(kind))
    return plan


def _entry(declared: Field[Any], short: bool) -> _Entry:
    metadata = declared.metadata
    name = (short and metadata["short"]) or metadata["name"]
    return _Entry(declared.name, name, metadata["parse"], declared.default is MISSING)


def _declare(name: str, short: str | None, default: Any, parse: Callable[[str], Any]) -> Any:
    metadata = {"name": name, "short": short, "parse": parse}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def _parse_integer(written: str, largest: int) -> int:
    digits = written[1:] if written[:1] in ("-", "+") else written
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(written)
    number = int(written)
    if not -largest - 1 <= number <= largest:
        raise ValueError(written)
    return number


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Boundary):
        return value.name
    return str(value)
