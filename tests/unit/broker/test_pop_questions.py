"""Questions about popped messages arrive as they were asked."""

import orjson
import pytest

from shmq.broker.pop.questions import (
    PopAckQuestion,
    PopBlockedQuestion,
    PopChangeQuestion,
    PopQuestion,
    Take,
    ask,
)
from shmq.broker.questions import parse_question


@pytest.mark.parametrize(
    "question",
    [
        PopQuestion("G", 1 << 61, 5, 60_000, True, "x", [Take("T", 0, -1, 0, 2, [0, 1], [7, 9])]),
        PopQuestion(
            "G", 1, 5, 60_000, False, "", [Take("T", 0, 3, 3, 5, [], []), Take("U", 1, 0, 0, 1, [0], [0])]
        ),
        PopAckQuestion("G", "T", 1, 5, 60_000, False, [1, 2]),
        PopChangeQuestion("G", "T", 1, 7, 5, 60_000, False, 6, 100),
        PopBlockedQuestion("G", "T", "x"),
    ],
)
def test_a_question_arrives_as_it_was_asked(question):
    assert parse_question(orjson.loads(orjson.dumps(ask(question)))) == question
