"""What can be said of an uploaded filter without running it."""

import zlib

import pytest

from shmq.broker.class_filters import SOURCE_BYTES_MAX, check_source
from shmq.errors import RequestError


@pytest.mark.parametrize(
    "source", [b"def matches(message): return True", b"(module)", b"\0asm\1\0\0\0", b"import re\n"]
)
def test_what_may_be_a_filter_passes(source):
    check_source(source, 0)
    check_source(source, zlib.crc32(source) & 0x7FFF_FFFF)


@pytest.mark.parametrize(
    "source",
    [
        b"package a.b;\n",
        b"// x\nimport java.util.*;\n",
        b"import static a.B.c;",
        b"  public class A {",
        b"public final class A",
        b"\n\npackage  org.apache ;",
    ],
)
def test_java_is_told_what_to_do(source):
    with pytest.raises(RequestError, match="Java sources are not run: upload the filter in Python"):
        check_source(source, 0)


@pytest.mark.parametrize(
    ("source", "crc32", "reason"),
    [(b"", 0, "no filter"), (b"x", 1, "checksum"), (b"#" * (SOURCE_BYTES_MAX + 1), 0, "at most")],
)
def test_what_is_none_is_refused(source, crc32, reason):
    with pytest.raises(RequestError, match=reason):
        check_source(source, crc32)
