from enum import IntEnum

import pytest

from shmq.errors import RequestError
from shmq.wire.members import (
    array_of,
    boolean_of,
    decimal_of,
    enum_of,
    integer_of,
    object_of,
    objects_of,
    optional_text_of,
    raw_object_of,
    read_object,
    text_map_of,
    text_of,
    texts_of,
)


class Colour(IntEnum):
    RED = 0
    BLUE = 1


SOURCE = {
    "text": "7",
    "number": 7,
    "decimal": 1.5,
    "yes": True,
    "null": None,
    "empty": "",
    "array": ["a", 1, None],
    "object": {"k": 1, "n": None},
}


def test_absent_and_null_members_take_their_defaults():
    for name in ("none", "null"):
        assert integer_of(SOURCE, name, 3) == 3
        assert text_of(SOURCE, name, "d") == "d"
        assert optional_text_of(SOURCE, name) is None
        assert boolean_of(SOURCE, name, default=True)
        assert decimal_of(SOURCE, name, 0.5) == 0.5
        assert array_of(SOURCE, name) == []
        assert object_of(SOURCE, name) == {}
        assert enum_of(SOURCE, name, Colour.BLUE) is Colour.BLUE


def test_numbers_and_texts_stand_for_each_other():
    assert integer_of(SOURCE, "text") == 7
    assert integer_of(SOURCE, "empty", 9) == 9
    assert text_of(SOURCE, "number") == "7"
    assert text_of(SOURCE, "decimal") == "1.5"
    assert text_of(SOURCE, "yes") == "true"
    assert texts_of(SOURCE, "array") == ("a", "1")
    assert text_map_of(SOURCE, "object") == {"k": "1"}


@pytest.mark.parametrize(("value", "truth"), [("TRUE", True), ("false", False), (1, True), (0, False)])
def test_truth_has_several_forms(value, truth):
    assert boolean_of({"b": value}, "b") is truth


@pytest.mark.parametrize(
    ("value", "colour"),
    [("BLUE", Colour.BLUE), ("blue", Colour.BLUE), (0, Colour.RED), (9, Colour.BLUE), ([], Colour.BLUE)],
)
def test_an_enum_is_read_by_name_or_ordinal(value, colour):
    assert enum_of({"c": value}, "c", Colour.BLUE) is colour


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (integer_of, "x"),
        (integer_of, 1.5),
        (integer_of, True),
        (integer_of, 2**63),
        (text_of, []),
        (texts_of, "abc"),
        (texts_of, [{}]),
        (boolean_of, []),
        (decimal_of, "1"),
        (decimal_of, True),
        (object_of, []),
        (array_of, {}),
        (text_map_of, {"k": []}),
    ],
)
def test_a_member_of_another_kind_is_refused(read, value):
    with pytest.raises(RequestError, match="odd is not"):
        read({"odd": value}, "odd")


def test_an_array_of_other_things_holds_no_objects():
    with pytest.raises(RequestError):
        list(objects_of({"l": [1]}, "l"))


def test_a_body_that_is_no_object_is_refused():
    with pytest.raises(RequestError, match="all of it is not an object"):
        read_object(b"[]")


def test_an_object_too_deep_to_be_written_again_is_refused():
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"d": deep}
    with pytest.raises(RequestError, match="shallow"):
        raw_object_of({"raw": deep}, "raw")
