"""Units of a queue's extension, byte for byte."""

from shmq.store.queue_extension import Unit, decode_unit, encode_unit


def test_a_unit_is_as_rocketmq_writes_it():
    unit = encode_unit(0x18BCFE58F8B, 0x18BCFE5687B, bytes(range(1, 9)))
    assert unit.hex() == "001c0000018bcfe58f8b0000018bcfe5687b00080102030405060708"
    assert decode_unit(unit) == Unit(28, 0x18BCFE58F8B, 0x18BCFE5687B, bytes(range(1, 9)))


def test_a_unit_without_a_bit_map_has_none():
    unit = encode_unit(-5, 7, b"")
    assert unit.hex() == "0014fffffffffffffffb00000000000000070000"
    assert decode_unit(unit + b"rest") == Unit(20, -5, 7, b"")


def test_what_is_no_whole_unit_is_none():
    whole = encode_unit(1, 2, b"abcd")
    assert decode_unit(b"") is None
    assert decode_unit(bytes(40)) is None
    assert decode_unit(b"\xff\xff" + whole[2:]) is None
    assert decode_unit(whole[:-1]) is None
    assert decode_unit(whole[:18] + b"\x00\x03" + whole[20:]) is None
    assert decode_unit(b"\x00\x0e" + whole[2:18] + b"\xff\xfa") is None
