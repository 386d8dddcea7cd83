"""How Java reads numbers in texts, and orders them: what compiled filters call.

A text that Java would not read raises ValueError, which ends the evaluation: the message does not match.
"""

import re
from typing import Any, Final

from shmq.broker.sql.tree import INT32_BITS, REAL, Number

JAVA_BLANKS: Final = "".join(map(chr, range(0x21)))  # what Java's trim() takes off
_DIGITS_MAX: Final = 32  # so many and all that lead them are surely too many, unless they are zeros
_DIGITS_SURE: Final = 9  # so many fit into 32 bits
_LAST_OF_BMP: Final = "\uffff"
_INT32: Final = (-(1 << 31), (1 << 31) - 1)
_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_DECIMAL: Final = re.compile(
    r"([+-]?)(?:(NaN|Infinity)|((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFdD]?)"
)
_HEXADECIMAL: Final = re.compile(
    r"([+-]?0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+)[fFdD]?"
)
_SPECIAL: Final = {"NaN": float("nan"), "Infinity": float("inf")}


def to_int32(text: str) -> int:
    """Java's Integer.valueOf."""
    return _whole(text, _INT32)


def to_int64(text: str) -> int:
    """Java's Long.valueOf."""
    return _whole(text, _INT64)


def to_double(text: str) -> float:
    """Java's Double.valueOf."""
    if text.isascii() and text.isdecimal():
        return float(text)
    given = text.strip(JAVA_BLANKS)
    found = _DECIMAL.fullmatch(given)
    if found is not None:
        sign, special, digits = found.groups()
        value = float(digits) if special is None else _SPECIAL[special]
        return -value if sign == "-" else value
    found = _HEXADECIMAL.fullmatch(given)
    if found is None:
        raise ValueError(f"{text!r} is no double")
    try:
        return float.fromhex(found[1])
    except OverflowError:
        return float("-inf" if given.startswith("-") else "inf")


def to_truth(text: str) -> bool:
    """Java's Boolean.valueOf."""
    return text.lower() == "true"


def order_of(left: str, right: str) -> int:
    """Whether one text is a smaller (-1), equal (0) or larger (1) double than another, as Java's Double orders them."""
    first, second = to_double(left), to_double(right)
    if first < second:
        return -1
    if first > second:
        return 1
    return (_rank(first) > _rank(second)) - (_rank(first) < _rank(second))


def is_equal(left: Any, right: Any) -> bool | None:
    """Whether two values are equal: texts, numbers, truth values, or None where one is missing.

    None that is missing on the left is unknown, on the right it is another value; two are equal.
    """
    if left is None or right is None:
        return None if left is None and right is not None else left is right
    if isinstance(left, str):
        return _is_text_equal(left, right)
    if isinstance(left, Number):
        if isinstance(right, str):
            return read_as(left.bits, right) == left.value
        return isinstance(right, Number) and number_order(left, right) == 0
    if isinstance(right, str):
        raise ValueError("a text is no truth value")  # noqa: TRY004 - as all that ends an evaluation
    return left is right


def read_as(bits: int, text: str) -> int | float:
    """Read a text as the kind of number that it is compared with."""
    if bits == REAL:
        return to_double(text)
    return to_int32(text) if bits == INT32_BITS else to_int64(text)


def number_order(left: Number, right: Number) -> int:
    """Whether a number is smaller (-1) than another, equal (0) or larger (1)."""
    first, second = left.value, right.value
    if REAL in (left.bits, right.bits):
        first, second = float(first), float(second)
    return (first > second) - (first < second)


def _is_text_equal(left: str, right: Any) -> bool:
    if isinstance(right, str):
        return left == right
    if isinstance(right, Number):
        return read_as(right.bits, left) == right.value
    return to_truth(left) is right


def _whole(text: str, bounds: tuple[int, int]) -> int:
    if len(text) <= _DIGITS_SURE and text.isdecimal() and text.isascii():
        return int(text)
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if not digits.isdecimal() or (not digits.isascii() and max(digits) > _LAST_OF_BMP):
        raise ValueError(f"{text!r} is no whole number")
    if len(digits) > _DIGITS_MAX and set(map(int, digits[:-_DIGITS_MAX])) == {0}:
        digits = digits[-_DIGITS_MAX:]
    if len(digits) > _DIGITS_MAX:
        raise ValueError("a whole number is too long")
    value = -int(digits) if text[0] == "-" else int(digits)
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{text!r} has too many bits")
    return value


def _rank(value: float) -> int:
    """The order of doubles that are not smaller or larger than each other: -0.0, all others, NaN."""
    if value != value:  # noqa: PLR0124 - as NaN alone is
        return 1
    return -1 if value == 0 and str(value)[0] == "-" else 0
