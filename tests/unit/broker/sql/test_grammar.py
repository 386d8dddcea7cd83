"""Texts to trees."""

import pytest

from shmq.broker.sql.grammar import parse
from shmq.broker.sql.tree import (
    Equal,
    In,
    IsNull,
    Logic,
    Not,
    Number,
    Order,
    Property,
    Search,
    SqlError,
    Text,
)

A, B = Property("a"), Property("b")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = 5", Equal(A, Number(32, 5))),
        ("a=5000000000", Equal(A, Number(64, 5_000_000_000))),
        ("a = 5L", Equal(A, Number(32, 5))),
        ("a = .5e1", Equal(A, Number(0, 5.0))),
        ("a <> 'it''s'", Not(Equal(A, Text("it's")))),
        ("A Is NoT nuLL", Not(IsNull(Property("A")))),
        ("a not in ('x','y')", In(A, ("x", "y"), is_not=True)),
        ("a NOT STARTSWITH 'x'", Search("STARTSWITH", A, "x", is_not=True)),
        ("a BETWEEN b AND 5", Logic("AND", (Order(">=", A, B), Order("<=", A, Number(32, 5))))),
        ("a NOT BETWEEN b AND 5", Logic("OR", (Order("<", A, B), Order(">", A, Number(32, 5))))),
        ("a = 1 -- x\n or /* y */ b = 1", Logic("OR", (Equal(A, Number(32, 1)), Equal(B, Number(32, 1))))),
        ("a IS NULL what follows )", IsNull(A)),
    ],
)
def test_an_expression_is_read(text, tree):
    assert parse(text) == tree


def test_like_is_no_operator():
    """What follows the first property is ignored, as all that does not continue an expression."""
    assert parse("a LIKE 'x%'") == parse("a")


@pytest.mark.parametrize(
    "text", ["", "a =", "a = 'x", "a != 1", "(a = 1", "a = 1 AND", "a = 1 \\", "5", "a = NULL"]
)
def test_what_is_none_is_refused(text):
    with pytest.raises(SqlError):
        parse(text)
