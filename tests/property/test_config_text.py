"""Configuration as text: whatever is written by the rules is read back as it was meant."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.config.properties_file import parse
from shmq.config.units import read_bytes, read_ms, show_bytes, show_ms

_TEXT = st.text(st.characters(max_codepoint=255), max_size=12)


def _escape(text, specials):
    return "".join(f"\\u{ord(c):04x}" if c in specials or not c.isprintable() else c for c in text)


@given(
    pairs=st.lists(st.tuples(_TEXT, _TEXT), max_size=8), separator=st.sampled_from(["=", ":", " = ", "\t"])
)
@settings(max_examples=200)
def test_escaped_properties_are_read_back_in_order(pairs, separator):
    specials = " =:#!\\\t\f\n\r\x85\xa0"
    lines = [f"k{_escape(key, specials)}{separator}{_escape(value, specials)}" for key, value in pairs]
    entries = parse("\n".join(lines))
    assert [(entry.key, entry.value) for entry in entries] == [("k" + key, value) for key, value in pairs]
    assert [entry.line for entry in entries] == list(range(1, len(pairs) + 1))


@given(text=st.text(st.sampled_from("ab=: \\\n\r#!u"), max_size=40))
@settings(max_examples=200)
def test_a_value_has_no_line_end_that_was_not_escaped(text):
    if "\\u" not in text:
        assert all("\n" not in key + value and "\r" not in key + value for key, value, _ in parse(text))


@given(number=st.integers(0, 2**50))
@settings(max_examples=200)
def test_a_shown_size_or_duration_is_read_as_the_same_number(number):
    assert read_bytes(show_bytes(number)) == number
    assert read_ms(show_ms(number)) == number
