"""Attributes of topics and groups: which there are, what they may hold, and how an administrator changes them.

A change is written `+key=value` to set and `-key` to remove; while a topic is made there is nothing to remove.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

MESSAGE_TYPE: Final = "message.type"
MIXED: Final = "MIXED"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute.

    Attributes:
        changeable: whether it can be changed once its owner exists.
        choices: the values that it may have.
    """

    changeable: bool
    choices: frozenset[str]


# RocketMQ also has BatchCQ and COMPACTION, which need another kind of queue, and reserve.time, which needs its
# tiered store: to refuse them is better than to keep a promise that nobody knows of.
TOPIC_ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    "queue.type": Attribute(changeable=False, choices=frozenset({"SimpleCQ"})),
    "cleanup.policy": Attribute(changeable=False, choices=frozenset({"DELETE"})),
    MESSAGE_TYPE: Attribute(
        changeable=True,
        choices=frozenset({"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", MIXED}),
    ),
}

GROUP_ATTRIBUTES: Final[Mapping[str, Attribute]] = {}


def parse_changes(text: str | None) -> dict[str, str]:
    """Return the changes of `+key=value,-key`, their keys with their signs.

    Raises:
        RequestError: the text is not of that form.
    """
    changes: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part:
            continue
        key, has_value, value = part.partition("=")
        if (key[:1] != "+" if has_value else key[:1] != "-") or key in changes:
            raise _refusal(f"kv string format wrong: {part}")
        changes[key] = value
    return changes


def alter_attributes(
    known: Mapping[str, Attribute], current: Mapping[str, str] | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """Return the attributes after the changes; current is None while their owner is made.

    Raises:
        RequestError: SYSTEM_ERROR: a change is not allowed; none has been made.
    """
    altered = dict(current or {})
    seen: set[str] = set()
    for signed, value in changes.items():
        sign, key = signed[:1], signed[1:]
        if not key or "+" in key or "-" in key:
            raise _refusal("kv string format wrong.")
        if key in seen:
            raise _refusal(f"alter duplication key. key: {key}")
        seen.add(key)
        if sign == "+":
            _verify(known, key, value, creates=current is None)
            altered[key] = value
        elif current is None:
            raise _refusal(f"only add attribute is supported while creating topic. key: {key}")
        elif sign == "-":
            if key not in current:
                raise _refusal(f"attempt to delete a nonexistent key: {key}")
            _verify(known, key, None, creates=False)
            del altered[key]
        else:
            raise _refusal(f"wrong format key: {key}")
    return altered


def _verify(known: Mapping[str, Attribute], key: str, value: str | None, *, creates: bool) -> None:
    """Refuse a key that is unknown or fixed, and a value that it cannot hold; None stands for a removal."""
    attribute = known.get(key)
    if attribute is None:
        raise _refusal(f"unsupported key: {key}")
    if not creates and not attribute.changeable:
        raise _refusal(f"attempt to update an unchangeable attribute. key: {key}")
    if value is not None and value not in attribute.choices:
        raise _refusal(f"value is not in set: {', '.join(sorted(attribute.choices))}")


def _refusal(remark: str) -> RequestError:
    return RequestError(ResponseCode.SYSTEM_ERROR, remark)
