"""What consumers upload to a filter server: what can be said of it without running it."""

import re
import zlib
from typing import Final

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

SOURCE_BYTES_MAX: Final = 1 << 20

_JAVA: Final = re.compile(
    rb"^\s*(package\s+[\w.]+\s*;|import\s+(static\s+)?[\w.*]+\s*;|public\s+(final\s+)?class\s)", re.MULTILINE
)
_NO_JAVA: Final = (
    "Java sources are not run: upload the filter in Python (a function `matches(message)`) or as WebAssembly"
)


def check_source(source: bytes, crc32: int) -> None:
    """Refuse what is no filter, as far as can be seen without running it.

    Raises:
        RequestError: it is Java, too long, or not what was sent.
    """
    if not source:
        raise RequestError(ResponseCode.INVALID_PARAMETER, "there is no filter in the request")
    if len(source) > SOURCE_BYTES_MAX:
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, f"a filter has at most {SOURCE_BYTES_MAX} bytes")
    if crc32 not in {0, zlib.crc32(source) & 0x7FFF_FFFF}:
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, "the filter is not what its checksum says")
    if _JAVA.search(source):
        raise RequestError(ResponseCode.SYSTEM_ERROR, _NO_JAVA)
