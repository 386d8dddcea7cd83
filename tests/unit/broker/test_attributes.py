"""Changes of attributes."""

import pytest

from shmq.broker.attributes import TOPIC_ATTRIBUTES, alter_attributes, parse_changes
from shmq.errors import RequestError


def alter(current, changes):
    return alter_attributes(TOPIC_ATTRIBUTES, current, parse_changes(changes))


@pytest.mark.parametrize(
    ("current", "changes", "altered"),
    [
        (None, None, {}),
        (None, "+message.type=FIFO", {"message.type": "FIFO"}),
        (None, "+message.type=FIFO,+queue.type=SimpleCQ", {"message.type": "FIFO", "queue.type": "SimpleCQ"}),
        ({"message.type": "FIFO"}, "", {"message.type": "FIFO"}),
        ({"message.type": "FIFO"}, "+message.type=DELAY", {"message.type": "DELAY"}),
        ({"message.type": "FIFO"}, "-message.type", {}),
    ],
)
def test_a_change_is_applied(current, changes, altered):
    assert alter(current, changes) == altered


@pytest.mark.parametrize(
    ("current", "changes"),
    [
        (None, "message.type=FIFO"),
        (None, "-message.type"),
        (None, "+message.type=WRONG"),
        (None, "+no.such=1"),
        (None, "+=1"),
        (None, "=1"),
        (None, "-message.type=1"),
        (None, "+queue.type=BatchCQ"),
        ({}, "+queue.type=SimpleCQ"),
        ({}, "-message.type"),
        ({"queue.type": "SimpleCQ"}, "-queue.type"),
        ({"message.type": "FIFO"}, "+message.type=DELAY,-message.type"),
        ({}, "+message.type=DELAY,+message.type=FIFO"),
    ],
)
def test_a_change_that_cannot_be_is_refused(current, changes):
    before = dict(current or {})
    with pytest.raises(RequestError):
        alter(current, changes)
    assert (current or {}) == before
