"""Filters: which messages of a queue a subscription wants, by hashes of tags or by properties.

A queue entry holds the hash of its message's tag, so that most messages are passed over unread. A filter of tags is a
set of such hashes, or None where every message is wanted; the client compares the tags themselves once more. A hash is
Java's `String.hashCode`, a signed number of 32 bits.

A filter of properties is an SQL92 expression, compiled (`sql/compiling.py`). The retry topic of a group holds messages
of all its topics: there RocketMQ can be told to take for each message the expression of the topic that it came from.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from shmq.broker.message_properties import RETRY_TOPIC
from shmq.broker.sql.compiling import Matches, SqlFilter
from shmq.broker.sql.java_values import JAVA_BLANKS
from shmq.store.bit_marks import MarkedFilter
from shmq.wire.heartbeat_bodies import EXPRESSION_TAG, SUBSCRIBE_ALL, SubscriptionData, tag_hash

TagFilter: TypeAlias = frozenset[int] | None
"""The hashes of the tags that are wanted; None: all messages are."""

MessageFilter: TypeAlias = "TagFilter | SqlFilter | MarkedFilter | RetryFilter"
"""What messages are wanted; two that are equal want the same."""

_SEPARATOR: Final = "||"
_EXPRESSIONS_CACHED: Final = 1024


def is_tag_type(expression_type: str | None) -> bool:
    """Whether an expression is one of tags; it is where nothing is said."""
    return not expression_type or expression_type == EXPRESSION_TAG


@lru_cache(maxsize=_EXPRESSIONS_CACHED)
def parse_tags(expression: str | None) -> TagFilter:
    """Return the filter that an expression such as `TagA || TagB` means; nothing and `*` mean all messages.

    Raises:
        ValueError: it is made of separators alone.
    """
    if not expression or expression == SUBSCRIBE_ALL:
        return None
    tags = expression.split(_SEPARATOR)
    if not any(tags):
        raise ValueError(f"no tag is in the expression {expression!r}")
    trimmed = (tag.strip(JAVA_BLANKS) for tag in tags)
    return frozenset(tag_hash(tag) for tag in trimmed if tag)


def subscription_filter(subscription: SubscriptionData) -> TagFilter:
    """Return the filter of a subscription that a heartbeat brought.

    The client's own hashes count, as in RocketMQ; where it sent none, they are worked out. An expression that holds
    no tag wants no message.
    """
    if subscription.class_filter:
        return None  # a filter server reads everything and filters itself
    if subscription.tag_hashes and subscription.expression != SUBSCRIBE_ALL:
        return frozenset(signed_hash(code) for code in subscription.tag_hashes)
    try:
        return parse_tags(subscription.expression)
    except ValueError:
        return frozenset()


class RetryFilter:
    """What a group wants of its retry topic: each message by the expression for the topic that it came from.

    Attributes:
        names: the properties that it looks at.
    """

    def __init__(self, filters: Mapping[str, SqlFilter]) -> None:
        """Take the expression of each topic; a message of another topic matches."""
        self._filters = dict(filters)
        named = dict.fromkeys(name for each in filters.values() for name in each.names)
        self.names = tuple(dict.fromkeys((RETRY_TOPIC, *named)))
        self._places = {
            topic: tuple(self.names.index(name) for name in each.names) for topic, each in filters.items()
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryFilter) and other._filters == self._filters

    def __hash__(self) -> int:
        return hash(frozenset(self._filters.items()))

    @property
    def matches(self) -> Matches:
        """Takes the values of `names`; whether the message matches."""
        return self._matches

    def _matches(self, *values: str) -> bool:
        found = self._filters.get(values[0])
        return found is None or found.matches(*(values[place] for place in self._places[values[0]]))


def signed_hash(number: int) -> int:
    """Return the low 32 bits of a number as a signed one, as the hash of a tag is."""
    return ((number & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
