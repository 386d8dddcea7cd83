"""Tag expressions in kernels."""

import numpy as np
import pytest

from shmq.broker import filters
from shmq.fastpath.tags import ALL, TAGS_MAX, UNREADABLE, is_same_filter, parse_tags
from shmq.memory.block import address_of


def parsed(expression):
    text = np.frombuffer(expression.encode() or b"\0", dtype=np.uint8)
    tags = np.zeros(TAGS_MAX, dtype=np.int64)
    count = parse_tags(address_of(text), len(expression.encode()), address_of(tags))
    return count if count < 0 else tags[:count].tolist()


@pytest.mark.parametrize("expression", ["", "*"])
def test_nothing_and_a_star_mean_all(expression):
    assert parsed(expression) == ALL


@pytest.mark.parametrize(
    "expression",
    [
        "TagA", "TagB||TagA", " TagA || TagB ", "a||a||b", "||a", "a||", " ", " || ", "a|||b", "|", "a|b", "\ta\n",
        "标签||a", "😀", "é||è||TagA", "**", "x" * 300,
    ],
)  # fmt: skip
def test_an_expression_means_what_it_means_to_python(expression):
    assert parsed(expression) == sorted(filters.parse_tags(expression))


@pytest.mark.parametrize("expression", ["||", "||||"])
def test_separators_alone_are_for_python(expression):
    assert parsed(expression) == UNREADABLE


def test_many_tags_are_for_python():
    assert len(parsed("||".join(f"t{number}" for number in range(TAGS_MAX)))) == TAGS_MAX
    assert parsed("||".join(f"t{number}" for number in range(TAGS_MAX + 1))) == UNREADABLE
    assert len(parsed("||".join(f"t{number % 3}" for number in range(200)))) == 3


def test_filters_are_the_same_by_their_tags():
    one, same, other = (np.array(tags, dtype=np.int64) for tags in ([1, 2], [1, 2], [1, 3]))
    assert is_same_filter(address_of(one), 2, address_of(same), 2)
    assert not is_same_filter(address_of(one), 2, address_of(other), 2)
    assert is_same_filter(address_of(one), 1, address_of(other), 1)
    assert not is_same_filter(address_of(one), ALL, address_of(one), 0)
    assert is_same_filter(0, ALL, 0, ALL)
