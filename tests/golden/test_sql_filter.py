"""SQL92 filters against RocketMQ's own: tools/capture_sql_golden.py asked its filter module."""

import json
from pathlib import Path

import pytest

from shmq.broker.sql.compiling import compile_sql
from shmq.broker.sql.tree import SqlError

GOLDEN = json.loads((Path(__file__).parent / "sql_filter.json").read_text())
MESSAGES = GOLDEN["messages"]
ANSWERS = dict(GOLDEN["answers"])
"""For each expression a letter a message, True, False, unknown (N) or an error (X); None where it is refused."""

TAKEN = [expression for expression, letters in ANSWERS.items() if letters is not None]
REFUSED = [expression for expression, letters in ANSWERS.items() if letters is None]


def test_there_are_enough_of_each():
    letters = "".join(filter(None, ANSWERS.values()))
    assert min(map(letters.count, "TFNX")) > 5000
    assert len(REFUSED) > 500


def test_what_rocketmq_refuses_is_refused():
    for expression in REFUSED:
        with pytest.raises(SqlError):
            compile_sql(expression)


def test_the_same_messages_match():
    for expression in TAKEN:
        compiled = compile_sql(expression)
        found = [compiled.matches(*(each.get(name, "") for name in compiled.names)) for each in MESSAGES]
        assert found == [letter == "T" for letter in ANSWERS[expression]], expression
