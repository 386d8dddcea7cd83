import pytest

from shmq.config.properties_file import Entry, PropertiesError, parse


@pytest.mark.parametrize("line", ["key=value", "key = value", "key:value", "key value", "\tkey\f=  value"])
def test_key_and_value_are_parted_by_equals_colon_or_blank(line):
    assert parse(line) == [Entry("key", "value", 1)]


def test_only_the_first_separator_counts():
    assert parse("a = = b") == [Entry("a", "= b", 1)]
    assert parse("namesrvAddr=h:1;i:2") == [Entry("namesrvAddr", "h:1;i:2", 1)]


def test_comments_and_blank_lines_are_passed_over():
    assert parse("# a=1\n  ! b=2\n\n \t\nc=3") == [Entry("c", "3", 5)]


def test_a_backslash_at_the_end_joins_lines_and_drops_the_next_indent():
    assert parse("a = 1,\\\n    2,\\\n  3\nb=4") == [Entry("a", "1,2,3", 1), Entry("b", "4", 4)]


def test_an_escaped_backslash_at_the_end_joins_nothing():
    assert parse("a=1\\\\\nb=2") == [Entry("a", "1\\", 1), Entry("b", "2", 2)]


def test_a_comment_does_not_continue():
    assert parse("# a \\\nb=2") == [Entry("b", "2", 2)]


def test_a_continued_line_may_begin_like_a_comment():
    assert parse("a=1\\\n#2") == [Entry("a", "1#2", 1)]


def test_escapes_are_resolved():
    assert parse(r"a\ b\=c = \u0041\t\n\q\\") == [Entry("a b=c", "A\t\nq\\", 1)]


def test_every_line_end_counts():
    assert [entry.line for entry in parse("a=1\rb=2\r\nc=3\n\nd=4")] == [1, 2, 3, 5]


def test_a_key_may_stand_alone():
    assert parse("a\nb=\n") == [Entry("a", "", 1), Entry("b", "", 2)]


def test_a_backslash_before_the_end_of_the_file_is_dropped():
    assert parse("a=1\\") == [Entry("a", "1", 1)]


@pytest.mark.parametrize("value", [r"\u12", r"\uxyzw", r"\u"])
def test_a_malformed_escape_is_refused_with_its_line(value):
    with pytest.raises(PropertiesError) as caught:
        parse(f"a=1\nb={value}")
    assert caught.value.line == 2


def test_a_repeated_key_is_told_each_time():
    assert parse("a=1\na=2") == [Entry("a", "1", 1), Entry("a", "2", 2)]
