"""Tag filters: which messages of a queue a subscription wants, as hashes of tags.

A queue entry holds the hash of its message's tag, so that most messages are passed over unread. A filter is a set
of such hashes, or None where every message is wanted; the client compares the tags themselves once more. A hash is
Java's `String.hashCode`, a signed number of 32 bits.
"""

from functools import lru_cache
from typing import Final, TypeAlias

from shmq.wire.heartbeat_bodies import EXPRESSION_TAG, SUBSCRIBE_ALL, SubscriptionData, tag_hash

TagFilter: TypeAlias = frozenset[int] | None
"""The hashes of the tags that are wanted; None: all messages are."""

_SEPARATOR: Final = "||"
_JAVA_BLANKS: Final = "".join(map(chr, range(0x21)))  # what Java's trim() takes off
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
    trimmed = (tag.strip(_JAVA_BLANKS) for tag in tags)
    return frozenset(tag_hash(tag) for tag in trimmed if tag)


def subscription_filter(subscription: SubscriptionData) -> TagFilter:
    """Return the filter of a subscription that a heartbeat brought.

    The client's own hashes count, as in RocketMQ; where it sent none, they are worked out. An expression that holds
    no tag wants no message.
    """
    if subscription.class_filter:
        return None  # a filter server reads everything and filters itself
    if subscription.tag_hashes and subscription.expression != SUBSCRIBE_ALL:
        return frozenset(_signed(code) for code in subscription.tag_hashes)
    try:
        return parse_tags(subscription.expression)
    except ValueError:
        return frozenset()


def _signed(number: int) -> int:
    """Return the low 32 bits of a number as a signed one."""
    return ((number & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
