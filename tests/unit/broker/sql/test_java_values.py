"""Numbers as Java reads them."""

import math

import pytest

from shmq.broker.sql.java_values import order_of, to_double, to_int32, to_int64


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("-5", -5), ("+5", 5), ("007", 7), ("2147483647", 2147483647), ("-2147483648", -2147483648),
     ("\u0665", 5), ("\uff15", 5), ("0" * 5000 + "5", 5)],
)  # fmt: skip
def test_whole_numbers_are_read(text, value):
    assert to_int32(text) == to_int64(text) == value


@pytest.mark.parametrize(
    "text", ["", "-", "+", "--5", " 5", "5 ", "5.0", "1_000", "0x5", "5L", "\U0001d7f3", "9" * 5000]
)
def test_other_texts_are_no_whole_numbers(text):
    for read in (to_int32, to_int64):
        with pytest.raises(ValueError, match="whole number"):
            read(text)


def test_whole_numbers_are_bounded():
    assert to_int64("-9223372036854775808") == -(1 << 63)
    for read, text in (
        (to_int32, "2147483648"),
        (to_int32, "-2147483649"),
        (to_int64, "9223372036854775808"),
    ):
        with pytest.raises(ValueError, match="bits"):
            read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5.0), (" 5.5\n", 5.5), (".5", 0.5), ("5.", 5.0), ("5e-1D", 0.5), ("-5f", -5.0), ("1e400", math.inf),
     ("-Infinity", -math.inf), ("0x1.8p1", 3.0), ("-0X.8P+1d", -1.0), ("0x1p99999", math.inf), ("-0x1p99999", -math.inf),
     ("1e-400", 0.0)],
)  # fmt: skip
def test_doubles_are_read(text, value):
    assert to_double(text) == value


@pytest.mark.parametrize(
    "text", ["", " ", "inf", "nan", "infinity", "1_0", "\u0665", "5 5", "0x1", "e5", ".", "5L", "\xa05"]
)
def test_other_texts_are_no_doubles(text):
    with pytest.raises(ValueError, match="no double"):
        to_double(text)


def test_nan_lies_above_and_zeros_differ():
    assert order_of("NaN", "Infinity") == 1
    assert order_of("1", "NaN") == -1
    assert order_of("NaN", "+NaN") == 0
    assert order_of("-0.0", "0.0") == -1
    assert order_of("0", "-0") == 1
    assert order_of("-0", "-0.0") == 0
