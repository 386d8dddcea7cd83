"""Java's properties format: text to keys, values and line numbers.

As `java.util.Properties.load` reads it: `#` and `!` open comments, `=`, `:` or blanks part a key from its value, a
backslash at a line's end joins the next line to it, and backslashes escape. One entry for each logical line, in the
order of the file; the caller decides what a repeated key means (in Java, the last one wins).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

ENCODING: Final = "latin-1"  # what Java reads such files as

_BLANKS: Final = " \t\f"
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Entry(NamedTuple):
    """One key and its value, and the line (from 1) on which they begin."""

    key: str
    value: str
    line: int


class PropertiesError(ValueError):
    """An escape that Java would refuse."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"\\u must be followed by four hexadecimal digits: {text}")
        self.line = line


def parse(text: str) -> list[Entry]:
    """Return the entries of a properties file; raise PropertiesError at a malformed escape."""
    entries = []
    for line, logical in _logical_lines(text):
        end = _key_end(logical)
        rest = logical[end:].lstrip(_BLANKS)
        if rest[:1] in ("=", ":"):
            rest = rest[1:].lstrip(_BLANKS)
        entries.append(Entry(_unescape(logical[:end], line), _unescape(rest, line), line))
    return entries


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that is neither blank nor a comment, joined to those it continues on."""
    joined, first = "", 0
    for number, natural in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        stripped = natural.lstrip(_BLANKS)
        if not joined:  # Java: as long as nothing but a backslash has been seen, the line has not begun
            if not stripped or stripped[0] in "#!":
                continue
            first = number
        if _continues(stripped):
            joined += stripped[:-1]
            continue
        yield first, joined + stripped
        joined = ""
    if joined:
        yield first, joined


def _continues(line: str) -> bool:
    """Whether the line ends in a backslash that no other backslash escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _key_end(logical: str) -> int:
    at = 0
    while at < len(logical) and logical[at] not in "=:" + _BLANKS:
        at += 2 if logical[at] == "\\" else 1
    return min(at, len(logical))


def _unescape(text: str, line: int) -> str:
    parts = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and at < len(text):
            character = text[at]
            at += 1
            if character == "u":
                digits = text[at : at + 4]
                if len(digits) < 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                    raise PropertiesError(line, text)
                character = chr(int(digits, 16))
                at += 4
            else:
                character = _ESCAPES.get(character, character)
        parts.append(character)
    return "".join(parts)
