"""What is noted of interop tests, of which the table of features is made."""

from tests.support.feature_table import FAILS, PASSES, FeatureTable


def test_a_pair_passes_where_every_test_of_it_has_and_what_was_not_tried_stays():
    table = FeatureTable()
    table.note(("a", "b"), ("x",), PASSES)
    table.note(("b",), ("x", "y"), FAILS)
    table.note(("b",), ("x",), PASSES)
    assert table.merged({"a": {"z": PASSES}, "b": {"y": PASSES}, "c": {"x": FAILS}}) == {
        "a": {"x": PASSES, "z": PASSES},
        "b": {"x": FAILS, "y": FAILS},
        "c": {"x": FAILS},
    }
