"""Names of topics and groups."""

import pytest

from shmq.broker.names import dlq_topic, group_problem, retry_topic, topic_problem

ALLOWED = "allowing only ^[%|a-zA-Z0-9_-]+$"


@pytest.mark.parametrize("topic", ["T", "a-b_c|d%e9", "x" * 127, "%RETRY%" + "g" * 248, "%DLQ%" + "g" * 250])
def test_a_legal_topic_has_no_problem(topic):
    assert topic_problem(topic) is None


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ("", "The specified topic is blank."),
        ("  ", "The specified topic is blank."),
        ("a b", f"The specified topic: a b, contains illegal characters, {ALLOWED}"),
        ("../x", f"The specified topic: ../x, contains illegal characters, {ALLOWED}"),
        ("é", f"The specified topic: é, contains illegal characters, {ALLOWED}"),
        ("x\n", f"The specified topic: x\n, contains illegal characters, {ALLOWED}"),
        ("x" * 128, f"The specified topic: {'x' * 128}, is longer than topic max length: 127"),
        (
            "%RETRY%" + "g" * 249,
            (
                f"The specified topic is DLQ or Retry topic: %RETRY%{'g' * 249}, "
                "and it's longer than topic max length: 255"
            ),
        ),
    ],
)
def test_an_illegal_topic_is_named_in_the_words_of_rocketmq(topic, problem):
    assert topic_problem(topic) == problem


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        ("g" * 120, None),
        (" ", "The specified group is blank."),
        ("a@b", f"The specified group: a@b, contains illegal characters, {ALLOWED}"),
        ("g" * 121, f"The specified group: {'g' * 121}, is longer than group max length: 120"),
    ],
)
def test_a_group_name_is_judged_alike(group, problem):
    assert group_problem(group) == problem


def test_a_group_has_a_topic_for_retries_and_one_for_dead_letters():
    assert (retry_topic("g"), dlq_topic("g")) == ("%RETRY%g", "%DLQ%g")
