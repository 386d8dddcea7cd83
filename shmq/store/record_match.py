"""Kernels: whether a record is one that was asked for, from its entry, its head and its properties, in this order."""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.block import equal
from shmq.memory.endian import load_i32, load_i64, load_native_i64, load_u8
from shmq.store import properties, record
from shmq.store.position import NONE

TAG_WORDS: Final = 3
"""A wanted tag: its hash, where its text lies, how long that is."""

_SEPARATOR: Final = ord(" ")
_INT32_MAX: Final = (1 << 31) - 1


class Wanted(NamedTuple):
    """Which records are wanted.

    Attributes:
        begin, end: they begin in this range of the log; its end is not part of it.
        topic, topic_bytes: where the topic's name lies and how long it is; NONE for any.
        queue_id: of the queue; NONE for any.
        first_offset, last_offset: range of queue offsets, both included.
        first_ms, last_ms: range of store times, both included.
        tags: where the wanted tags lie, TAG_WORDS words each.
        tag_count: how many; 0 for any.
        key, key_bytes: where a key or unique id lies and how long it is; NONE for any.
        is_placed: whether only records with a place in their queue are wanted.
        has_hashes: whether the hash of the tags is to be found out as well.
    """

    begin: int
    end: int
    topic: int
    topic_bytes: int
    queue_id: int
    first_offset: int
    last_offset: int
    first_ms: int
    last_ms: int
    tags: int
    tag_count: int
    key: int
    key_bytes: int
    is_placed: bool
    has_hashes: bool


@kernel
def matches_head(wanted: Wanted, address: int, parts: record.Parts) -> bool:
    """Whether a record is wanted as far as its head and topic tell."""
    if wanted.queue_id != NONE and load_i32(address + record.QUEUE_ID) != wanted.queue_id:
        return False
    if wanted.is_placed and not record.is_dispatched(parts.sys_flag):
        return False
    offset = load_i64(address + record.QUEUE_OFFSET)
    if offset < wanted.first_offset or offset > wanted.last_offset:
        return False
    store_ms = record.store_timestamp(address)
    if store_ms < wanted.first_ms or store_ms > wanted.last_ms:
        return False
    return wanted.topic == NONE or (
        parts.topic_bytes == wanted.topic_bytes
        and equal(address + parts.topic, wanted.topic, wanted.topic_bytes)
    )


@kernel
def matches_texts(wanted: Wanted, text: int, texts: properties.Texts) -> bool:
    """Whether a record is wanted as far as its properties tell."""
    if wanted.tag_count > 0 and not _has_tag(wanted, text, texts):
        return False
    if wanted.key == NONE:
        return True
    if texts.unique_bytes == wanted.key_bytes and equal(text + texts.unique, wanted.key, wanted.key_bytes):
        return True
    at = texts.keys
    end = texts.keys + texts.keys_bytes
    while at < end:
        begin = at
        while at < end and load_u8(text + at) != _SEPARATOR:
            at += 1
        if at - begin == wanted.key_bytes and equal(text + begin, wanted.key, wanted.key_bytes):
            return True
        at += 1
    return False


@kernel
def _has_tag(wanted: Wanted, text: int, texts: properties.Texts) -> bool:
    for index in range(wanted.tag_count):
        tag = wanted.tags + 8 * TAG_WORDS * index
        if load_native_i64(tag + 16) == texts.tags_bytes and equal(
            text + texts.tags, load_native_i64(tag + 8), texts.tags_bytes
        ):
            return True
    return False


@kernel
def may_have_tag(wanted: Wanted, tag_hash: int) -> bool:
    """Whether a record may have a wanted tag for all that its entry tells.

    Zero may be a hash that is just being written. What is no 32-bit number is none: the schedule topic's entries
    hold a time there, and RocketMQ's extended ones the place of a filter's bits.
    """
    if wanted.tag_count == 0 or tag_hash == 0 or not -_INT32_MAX - 1 <= tag_hash <= _INT32_MAX:
        return True
    for index in range(wanted.tag_count):
        if load_native_i64(wanted.tags + 8 * TAG_WORDS * index) == tag_hash:
            return True
    return False


@entry
def hash_of_tag(text: int, size_bytes: int) -> int:
    """Java's hash of a tag, given in UTF-8."""
    return properties.java_hash(text, size_bytes)
