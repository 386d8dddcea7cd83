"""Compiled expressions: their bounds, and how they are kept. What they mean is held by tests/golden."""

import pytest

from shmq.broker.sql.compiling import DEPTH_MAX, NAMES_MAX, compile_sql
from shmq.broker.sql.grammar import EXPRESSION_CHARACTERS_MAX
from shmq.broker.sql.tree import SqlError


def matches(expression, **properties):
    compiled = compile_sql(expression)
    return compiled.matches(*(properties.get(name, "") for name in compiled.names))


def test_each_property_is_named_once():
    assert compile_sql("a > 1 AND b = 'x' OR a < 0 OR c IS NULL").names == ("a", "b", "c")
    assert compile_sql("TRUE").names == ()


def test_the_same_text_is_compiled_once():
    assert compile_sql("a > 77").matches is compile_sql("a > 77").matches
    assert compile_sql("a > 77") == compile_sql("a > 77")
    assert compile_sql("a > 77") != compile_sql("a > 78")


def test_a_text_is_never_part_of_the_function():
    hostile = "a = '\"); import os; (\"' OR b = '{0}' OR c = '<parameters>'"
    assert matches(hostile, a='"); import os; ("')
    assert matches(hostile, c="<parameters>")
    assert not matches(hostile, a="x", b="x", c="x")


def test_a_keyword_of_python_may_be_a_name():
    assert matches("lambda = 'x' AND None = 'y' AND class IS NULL", **{"lambda": "x", "None": "y"})


def test_a_long_list_of_alternatives_is_no_deep_expression():
    assert matches(" OR ".join(f"a = {number}" for number in range(3000)), a="2999")
    assert not matches(" AND ".join(f"a <> {number}" for number in range(3000)), a="2999")


def test_parentheses_are_not_counted():
    assert matches("(" * 3000 + "a = 1" + ")" * 3000, a="1")


@pytest.mark.parametrize("count", [DEPTH_MAX - 2, DEPTH_MAX - 3])
def test_a_deep_expression_is_taken(count):
    assert matches("NOT " * count + "(a = 1)", a="1") is (count % 2 == 0)
    assert matches("(" * count + "a = 1" + " AND b = 1) OR c = 1" * count, a="1", b="1")


def test_a_deeper_one_is_refused():
    with pytest.raises(SqlError, match="deep"):
        compile_sql("NOT " * DEPTH_MAX + "(a = 1)")


def test_a_longer_one_is_refused():
    assert matches("a = 1" + " " * (EXPRESSION_CHARACTERS_MAX - 5), a="1")
    with pytest.raises(SqlError, match="characters"):
        compile_sql("a = 1" + " " * (EXPRESSION_CHARACTERS_MAX - 4))


def test_more_properties_are_refused():
    names = [f"p{number} = 1" for number in range(NAMES_MAX + 1)]
    assert len(compile_sql(" OR ".join(names[:-1])).names) == NAMES_MAX
    with pytest.raises(SqlError, match="properties"):
        compile_sql(" OR ".join(names))
