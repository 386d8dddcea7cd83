"""Compiled conditions against a plain model of three-valued logic."""

import string

from hypothesis import given
from hypothesis import strategies as st

from shmq.broker.sql.compiling import compile_sql
from shmq.broker.sql.tree import SqlError

NAMES = ("a", "b", "c")
MESSAGES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2", "10"]))


def leaves():
    """Conditions of one property each: their text, and what they are of a message."""
    name, number = st.sampled_from(NAMES), st.integers(0, 11)

    def make(name, number, symbol):
        compared = {
            "=": lambda value: value == number,
            "<>": lambda value: value != number,
            "<": lambda value: value < number,
            ">=": lambda value: value >= number,
        }[symbol]

        def truth(message):
            return compared(int(message[name])) if name in message else None

        return f"{name} {symbol} {number}", truth

    compared = st.builds(make, name, number, st.sampled_from(["=", "<>", "<", ">="]))
    constant = st.sampled_from(
        [(text, value) for text, value in (("TRUE", True), ("FALSE", False), ("NULL", None))]
    )
    return compared | constant.map(lambda each: (each[0], lambda _: each[1]))


def joined(parts):
    def both(left, right):
        def truth(message):
            values = (left[1](message), right[1](message))
            return False if False in values else None if None in values else True

        return f"({left[0]}) AND ({right[0]})", truth

    def either(left, right):
        def truth(message):
            values = (left[1](message), right[1](message))
            return True if True in values else None if None in values else False

        return f"({left[0]}) or ({right[0]})", truth

    def inverted(part):
        def truth(message):
            value = part[1](message)
            return None if value is None else not value

        return f"NOT ({part[0]})", truth

    def unknown(part):
        return f"({part[0]}) IS NULL", lambda message: part[1](message) is None

    def certain(part):
        return f"({part[0]}) IS NOT NULL", lambda message: part[1](message) is not None

    return (
        st.builds(both, parts, parts)
        | st.builds(either, parts, parts)
        | st.builds(inverted, parts)
        | st.builds(unknown, parts)
        | st.builds(certain, parts)
    )


@given(st.recursive(leaves(), joined, max_leaves=40), MESSAGES)
def test_a_condition_is_what_three_valued_logic_says(condition, message):
    text, truth = condition
    compiled = compile_sql(text)
    assert compiled.matches(*(message.get(name, "") for name in compiled.names)) is (truth(message) is True)


@given(st.text(st.sampled_from(string.printable + "aaabb==<>''()()  \u0665\u212a"), max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    try:
        compiled = compile_sql(text)
    except SqlError:
        return
    assert compiled.matches(*("x" for _ in compiled.names)) in {True, False}


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                "1",
                "'x'",
                "=",
                "<>",
                "<",
                ">=",
                "AND",
                "OR",
                "NOT",
                "IS",
                "NULL",
                "IN",
                "BETWEEN",
                "(",
                ")",
                ",",
                "-",
                "+",
                "TRUE",
                "CONTAINS",
            ]
        )
    ),
    st.dictionaries(st.sampled_from(NAMES), st.text(min_size=1)),
)
def test_any_words_are_an_expression_or_refused(words, message):
    try:
        compiled = compile_sql(" ".join(words))
    except SqlError:
        return
    assert compiled.matches(*(message.get(name, "") for name in compiled.names)) in {True, False}
