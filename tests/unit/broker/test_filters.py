"""Tag filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.broker.filters import is_tag_type, parse_tags, subscription_filter
from shmq.memory.block import address_of
from shmq.store.properties import java_hash
from shmq.wire.heartbeat_bodies import SubscriptionData, tag_hash


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("TagA", 2598919),
        ("order-paid", 710106603),
        ("TagBBBBBB", -1077334854),
        ("polygenelubricants", -2147483648),
        ("", 0),
    ],
)
def test_a_tag_has_the_hash_that_java_gives_it(tag, expected):
    assert tag_hash(tag) == expected


@settings(max_examples=200, deadline=None)  # the first call compiles
@given(st.text(min_size=1))
def test_a_tag_has_the_hash_that_the_store_gives_it(tag):
    encoded = np.frombuffer(tag.encode(), dtype=np.uint8)
    assert tag_hash(tag) == java_hash(address_of(encoded), len(encoded))


@pytest.mark.parametrize("expression", [None, "", "*"])
def test_nothing_and_a_star_want_all_messages(expression):
    assert parse_tags(expression) is None


def test_tags_are_parted_by_two_bars_and_trimmed():
    assert parse_tags("TagA || TagB||\tTagC ||") == {tag_hash("TagA"), tag_hash("TagB"), tag_hash("TagC")}


def test_one_bar_is_part_of_a_tag():
    assert parse_tags("a|b") == {tag_hash("a|b")}


@pytest.mark.parametrize("expression", ["||", "||||"])
def test_separators_alone_are_refused(expression):
    with pytest.raises(ValueError, match="no tag"):
        parse_tags(expression)


def test_blank_tags_want_no_message():
    assert parse_tags(" || ") == frozenset()


@pytest.mark.parametrize(
    ("name", "expected"), [(None, True), ("", True), ("TAG", True), ("SQL92", False), ("tag", False)]
)
def test_an_expression_is_of_tags_unless_it_says_otherwise(name, expected):
    assert is_tag_type(name) is expected


def test_the_hashes_of_a_heartbeat_count():
    subscription = SubscriptionData(topic="T", expression="TagA", tag_hashes=frozenset((7, 0xFFFF_FFFF)))
    assert subscription_filter(subscription) == {7, -1}


def test_hashes_that_a_heartbeat_left_out_are_worked_out():
    assert subscription_filter(SubscriptionData(topic="T", expression="TagA")) == {2598919}
    assert subscription_filter(SubscriptionData(topic="T", expression="||")) == frozenset()


@pytest.mark.parametrize(
    "subscription",
    [
        SubscriptionData(topic="T", expression="*", tag_hashes=frozenset((7,))),
        SubscriptionData(topic="T", expression=""),
        SubscriptionData(topic="T", expression="TagA", class_filter=True),
    ],
)
def test_a_subscription_to_all_has_no_filter(subscription):
    assert subscription_filter(subscription) is None
