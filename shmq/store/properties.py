"""A message's properties: `name 0x01 value 0x02` repeated, as text to pairs and back, and searched in place.

A pair whose name or value is empty is dropped, a missing last 0x02 is tolerated, a value may hold 0x01, and of
two pairs with one name the last wins. So does RocketMQ read them, whatever order they are in.

`split` and `copy_text` give a kernel what `parse` gives Python.

The kernels read raw bytes that are already known to lie within a record. `java_hash` gives the hash that Java
gives the decoded text: its UTF-16 units, each malformed sequence of bytes being one U+FFFD.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from shmq.jit import kernel
from shmq.memory.block import copy, equal
from shmq.memory.endian import load_native_i32, load_native_i64, load_u8, store_native_i64, store_u8
from shmq.memory.lanes import LANES, bytes_up_to, lowest_bit
from shmq.store.position import NONE

NAME_END: Final = 0x01
VALUE_END: Final = 0x02

PAIRS_MAX: Final = 0x7FFF // 4 + 1
"""So many pairs fit into the properties of a record: a name, a value and their ends each."""
PAIR_WORDS: Final = 4
"""A pair: where its name lies and how long it is, and so for its value."""

_TAGS: Final = int.from_bytes(b"TAGS", "little")
_KEYS: Final = int.from_bytes(b"KEYS", "little")
_SHORT_BYTES: Final = 5  # either of these names and its end
_UNIQUE_KEY: Final = int.from_bytes(b"UNIQ_KEY", "little")
_UNIQUE_KEY_BYTES: Final = 9
_REPLACEMENT: Final = 0xFFFD
_PLUS, _MINUS, _ZERO = b"+-0"
_MASK_32: Final = 0xFFFF_FFFF
_NOT_ASCII: Final = -0x7F7F_7F7F_7F7F_7F80  # the highest bit of each byte of a word
_BYTES_2: Final = 0x00FF_00FF_00FF_00FF
_HALVES: Final = 0x0000_FFFF_0000_FFFF
_31_2: Final = 31**2
_31_4: Final = 31**4
_31_8: Final = 31**8 & _MASK_32


class Texts(NamedTuple):
    """Where the values of TAGS, KEYS and UNIQ_KEY lie, from the beginning of the properties; NONE and 0 without."""

    tags: int
    tags_bytes: int
    keys: int
    keys_bytes: int
    unique: int
    unique_bytes: int


def parse(text: bytes) -> dict[str, str]:
    """The pairs of an encoded properties string, in their order."""
    pairs: dict[str, str] = {}
    for pair in text.decode("utf-8", "replace").split("\x02"):
        name, _, value = pair.partition("\x01")
        if name and value:
            pairs[name] = value
    return pairs


def join(pairs: Mapping[str, str]) -> bytes:
    """The encoded properties string of these pairs, in their order."""
    return "".join(f"{name}\x01{value}\x02" for name, value in pairs.items()).encode()


@kernel
def find(properties: int, size_bytes: int, name: int, name_bytes: int) -> tuple[int, int]:
    """Where the value of a name lies: its offset from `properties` and its size, or (NONE, 0)."""
    found = NONE
    found_bytes = 0
    at = 0
    while at < size_bytes:
        name_end = NONE
        pair_end = at
        while pair_end < size_bytes:
            byte = load_u8(properties + pair_end)
            if byte == VALUE_END:
                break
            if byte == NAME_END and name_end == NONE:
                name_end = pair_end
            pair_end += 1
        if (
            name_end - at == name_bytes
            and name_end < pair_end - 1
            and equal(properties + at, name, name_bytes)
        ):
            found = name_end + 1
            found_bytes = pair_end - found
        at = pair_end + 1
    return found, found_bytes


@kernel
def find_texts(properties: int, size_bytes: int, readable_bytes: int) -> Texts:
    """As find, of TAGS, KEYS and UNIQ_KEY, with 32 bytes at once as far as so many can be read from `properties` on."""
    tags = keys = unique = NONE
    tags_bytes = keys_bytes = unique_bytes = 0
    pair = 0
    while pair < size_bytes:
        pair_end = end_of_pair(properties, pair, size_bytes, readable_bytes)
        begin = properties + pair
        if pair_end > pair + _SHORT_BYTES:
            word = load_native_i32(begin)
            if word == _TAGS and load_u8(begin + 4) == NAME_END:
                tags = pair + _SHORT_BYTES
                tags_bytes = pair_end - tags
            elif word == _KEYS and load_u8(begin + 4) == NAME_END:
                keys = pair + _SHORT_BYTES
                keys_bytes = pair_end - keys
            elif (
                pair_end > pair + _UNIQUE_KEY_BYTES
                and load_native_i64(begin) == _UNIQUE_KEY
                and load_u8(begin + 8) == NAME_END
            ):
                unique = pair + _UNIQUE_KEY_BYTES
                unique_bytes = pair_end - unique
        pair = pair_end + 1
    return Texts(tags, tags_bytes, keys, keys_bytes, unique, unique_bytes)


@kernel
def split(properties: int, size_bytes: int, readable_bytes: int, pairs: int) -> int:
    """Write where the pairs lie, in their order, and return how many they are; of one name there is one.

    Args:
        properties: where they begin.
        size_bytes: how long they are.
        readable_bytes: how much can be read from there on.
        pairs: room for PAIRS_MAX pairs of PAIR_WORDS words.
    """
    count = 0
    at = 0
    while at < size_bytes:
        pair_end = end_of_pair(properties, at, size_bytes, readable_bytes)
        name_end = at
        while name_end < pair_end and load_u8(properties + name_end) != NAME_END:
            name_end += 1
        if at < name_end < pair_end - 1:
            name = properties + at
            index = _pair_of(pairs, count, name, name_end - at)
            pair = pairs + 8 * PAIR_WORDS * index
            store_native_i64(pair, name)
            store_native_i64(pair + 8, name_end - at)
            store_native_i64(pair + 16, properties + name_end + 1)
            store_native_i64(pair + 24, pair_end - name_end - 1)
            count = max(count, index + 1)
        at = pair_end + 1
    return count


@kernel
def _pair_of(pairs: int, count: int, name: int, name_bytes: int) -> int:
    """The index of the pair that has this name, or of the next one."""
    for index in range(count):
        pair = pairs + 8 * PAIR_WORDS * index
        if load_native_i64(pair + 8) == name_bytes and equal(load_native_i64(pair), name, name_bytes):
            return index
    return count


@kernel
def copy_text(target: int, text: int, size_bytes: int) -> int:
    """Copy UTF-8, each malformed sequence as one U+FFFD; return how many bytes it became, three times as many at most."""
    at = 0
    while at + 8 <= size_bytes and load_native_i64(text + at) & _NOT_ASCII == 0:
        at += 8
    while at < size_bytes and load_u8(text + at) < 0x80:
        at += 1
    copy(target, text, at)
    copied = at
    while at < size_bytes:
        taken = 1
        point = load_u8(text + at)
        if point >= 0x80:
            point, taken = _decode_character(text + at, size_bytes - at)
        if point == _REPLACEMENT:
            store_u8(target + copied, 0xEF)
            store_u8(target + copied + 1, 0xBF)
            store_u8(target + copied + 2, 0xBD)
            copied += 3
        else:
            copy(target + copied, text + at, taken)
            copied += taken
        at += taken
    return copied


@kernel
def end_of_pair(properties: int, at: int, size_bytes: int, readable_bytes: int) -> int:
    """Where the pair that begins here ends: before its VALUE_END, or with the properties."""
    while at < size_bytes and at + LANES <= readable_bytes:
        ends = bytes_up_to(properties + at, VALUE_END) & ~bytes_up_to(properties + at, NAME_END)
        if ends != 0:
            return min(at + lowest_bit(ends), size_bytes)
        at += LANES
    while at < size_bytes and load_u8(properties + at) != VALUE_END:
        at += 1
    return min(at, size_bytes)


@kernel
def java_hash(text: int, size_bytes: int) -> int:
    """Java's String.hashCode of UTF-8 bytes, sign-extended to 64 bits."""
    return java_hash_after(0, text, size_bytes)


@kernel
def java_hash_after(hashed: int, text: int, size_bytes: int) -> int:
    """As java_hash, of a longer text whose beginning has the hash `hashed`."""
    result = hashed & _MASK_32
    at = 0
    while at + 8 <= size_bytes:
        word = load_native_i64(text + at)
        if word & _NOT_ASCII != 0:
            break
        # Neighbours are joined: bytes to halves of a word, these to words, and these to the hash of all.
        twos = (word & _BYTES_2) * 31 + ((word >> 8) & _BYTES_2)
        fours = (twos & _HALVES) * _31_2 + ((twos >> 16) & _HALVES)
        eight = (fours & _MASK_32) * _31_4 + (fours >> 32)
        result = (result * _31_8 + eight) & _MASK_32
        at += 8
    while at < size_bytes and load_u8(text + at) < 0x80:
        result = (31 * result + load_u8(text + at)) & _MASK_32
        at += 1
    if at < size_bytes:
        result = _hash_characters(result, text + at, size_bytes - at)
    return result - ((result >> 31) << 32)


@kernel
def _hash_characters(result: int, text: int, size_bytes: int) -> int:
    """What java_hash_after does, character by character, unsigned."""
    at = 0
    while at < size_bytes:
        unit = load_u8(text + at)
        taken = 1
        if unit >= 0x80:
            unit, taken = _decode_character(text + at, size_bytes - at)
        if unit >= 0x10000:
            high = 0xD800 + ((unit - 0x10000) >> 10)
            result = (31 * result + high) & _MASK_32
            unit = 0xDC00 + ((unit - 0x10000) & 0x3FF)
        result = (31 * result + unit) & _MASK_32
        at += taken
    return result


@kernel
def decimal(text: int, size_bytes: int) -> int:
    """The value of ASCII decimal digits with an optional sign, at most 9 of them; NONE for anything else."""
    at = 0
    sign = 1
    if size_bytes > 1 and (load_u8(text) == _MINUS or load_u8(text) == _PLUS):
        if load_u8(text) == _MINUS:
            sign = -1
        at = 1
    if at == size_bytes or size_bytes - at > 9:
        return NONE
    value = 0
    while at < size_bytes:
        digit = load_u8(text + at) - _ZERO
        if digit < 0 or digit > 9:
            return NONE
        value = 10 * value + digit
        at += 1
    return sign * value


@kernel
def _decode_character(text: int, readable_bytes: int) -> tuple[int, int]:
    """The code point that begins with this byte above 0x7f, and how many bytes Java's decoder takes for it."""
    first = load_u8(text)
    needed = 0
    point = 0
    if 0xC2 <= first <= 0xDF:
        needed = 1
        point = first & 0x1F
    elif 0xE0 <= first <= 0xEF:
        needed = 2
        point = first & 0x0F
    elif 0xF0 <= first <= 0xF4:
        needed = 3
        point = first & 0x07
    taken = 1
    while taken <= needed:
        if taken == readable_bytes:
            return _REPLACEMENT, taken
        byte = load_u8(text + taken)
        if (byte & 0xC0) != 0x80 or (taken == 1 and _is_second_byte_out_of_range(first, byte)):
            return _REPLACEMENT, taken
        point = (point << 6) | (byte & 0x3F)
        taken += 1
    if needed == 0 or 0xD800 <= point <= 0xDFFF:  # Java replaces an encoded surrogate whole
        return _REPLACEMENT, taken
    return point, taken


@kernel
def _is_second_byte_out_of_range(first: int, second: int) -> bool:
    """Whether the pair would begin an overlong form, or a point above U+10FFFF."""
    return (
        (first == 0xE0 and second < 0xA0)
        or (first == 0xF0 and second < 0x90)
        or (first == 0xF4 and second > 0x8F)
    )
