import numpy as np
import pytest

from shmq.memory.layout import layout, offset_of, round_up


def test_a_layout_has_its_size_and_its_offsets():
    made = layout(32, first=(0, "<i8"), later=(20, ">i4"))
    assert made.itemsize == 32
    assert (offset_of(made, "first"), offset_of(made, "later")) == (0, 20)
    row = np.zeros(1, dtype=made)
    row["later"] = 1
    assert row.tobytes() == bytes(20) + b"\0\0\0\1" + bytes(8)


def test_a_layout_too_short_for_a_field_is_refused():
    with pytest.raises(ValueError, match="itemsize"):
        layout(8, word=(4, "<i8"))


@pytest.mark.parametrize(("value", "unit", "rounded"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 128, 128)])
def test_rounding_up_goes_to_the_next_multiple(value, unit, rounded):
    assert round_up(value, unit) == rounded
