import ctypes

import numpy as np
import pytest

from shmq.local.rows import joined, rows_of


def bodies(rows):
    if rows.offsets is None:
        return [
            ctypes.string_at(rows.address + rows.stride * each, rows.stride) for each in range(rows.count)
        ]
    ends = rows.offsets.tolist()
    return [
        ctypes.string_at(rows.address + ends[each], ends[each + 1] - ends[each]) for each in range(rows.count)
    ]


def test_each_row_of_two_dimensions_is_a_body():
    assert bodies(rows_of(np.frombuffer(b"abcdef", np.uint8).reshape(3, 2))) == [b"ab", b"cd", b"ef"]
    assert bodies(rows_of(np.array([[1], [2]], dtype="<i4"))) == [b"\1\0\0\0", b"\2\0\0\0"]


def test_rows_that_do_not_lie_in_order_are_copied_so_that_they_do():
    assert bodies(rows_of(np.frombuffer(b"abcdef", np.uint8).reshape(3, 2).T)) == [b"ace", b"bdf"]


def test_each_structured_element_is_a_body():
    array = np.array([(1, b"x"), (2, b"y")], dtype=[("n", "<i2"), ("c", "S1")])
    assert bodies(rows_of(array)) == [b"\1\0x", b"\2\0y"]


def test_offsets_say_where_each_body_begins_and_the_last_ends():
    assert bodies(rows_of(np.frombuffer(b"abcdef", np.uint8), [1, 2, 2, 6])) == [b"b", b"", b"cdef"]
    assert rows_of(np.frombuffer(b"abc", np.uint8), [0]).count == 0


@pytest.mark.parametrize(
    ("array", "offsets"),
    [
        (np.zeros(3), None),
        (np.zeros((2, 2, 2)), None),
        (np.array([["a"]], dtype=object), None),
        (np.zeros(3, np.uint8), [0, 4]),
        (np.zeros(3, np.uint8), [2, 1]),
        (np.zeros(3, np.uint8), [-1, 1]),
        (np.zeros(3, np.uint8), []),
        (np.zeros(3, np.int64), [0, 1]),
    ],
)
def test_what_holds_no_bodies_is_refused(array, offsets):
    with pytest.raises(ValueError, match=r"array|offsets|bodies"):
        rows_of(array, offsets)


def test_bodies_of_any_kind_are_joined():
    made = joined([b"ab", bytearray(b"c"), memoryview(b"def")])
    assert bodies(made) == [b"ab", b"c", b"def"]
