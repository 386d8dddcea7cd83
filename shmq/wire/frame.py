"""Cut a byte stream into frames.

    offset  size      field   meaning
    ------  --------  ------  ------------------------------------------------------------
         0         4  total   bytes that follow this word: 4 + header + body
         4         4  word    top byte: how the header is encoded; low 24 bits: its length H
         8         H  header
       8+H  total-4-H  body

Big-endian. An unfinished frame is appended to, and looked at again only when enough has arrived to tell more,
so a large frame in small pieces costs time in proportion to its bytes. A length is judged as soon as it is
there: between two feeds a reader never holds more than one frame's limit.
"""

from typing import Final, NamedTuple

from shmq.errors import PeerError

FRAME_BYTES_MAX: Final = 16_777_216  # with the length word, as com.rocketmq.remoting.frameMaxLength has it
HEADER_BYTES_MAX: Final = 0xFFFFFF
PREFIX_BYTES: Final = 8  # both length words

_TOTAL_BYTES: Final = 4
# What is read as an impossible length when somebody speaks another protocol.
_FOREIGN_STARTS: Final = (
    (b"\x16\x03", "a TLS hello"),
    (b"GET ", "an HTTP request"),
    (b"POST", "an HTTP request"),
    (b"PUT ", "an HTTP request"),
    (b"HEAD", "an HTTP request"),
    (b"DELE", "an HTTP request"),
    (b"OPTI", "an HTTP request"),
    (b"PATC", "an HTTP request"),
    (b"CONN", "an HTTP request"),
    (b"TRAC", "an HTTP request"),
    (b"PRI ", "an HTTP/2 preface"),
    (b"PROX", "a PROXY protocol header"),
    (b"\r\n\r\n", "a PROXY protocol header"),
    (b"SSH-", "an SSH banner"),
)


class Frame(NamedTuple):
    """One frame, its header not yet decoded.

    Attributes:
        encoding_word: the word before the header as it came: encoding in the top byte, length below.
        header: the encoded header.
        body: what follows it; may be empty.
    """

    encoding_word: int
    header: bytes
    body: bytes


class FrameReader:
    """Frames out of bytes, however the stream was cut."""

    __slots__ = ("_held", "_limit_bytes", "_needed_bytes")

    def __init__(self, limit_bytes: int = FRAME_BYTES_MAX) -> None:
        self._limit_bytes = limit_bytes
        self._held = bytearray()
        self._needed_bytes = _TOTAL_BYTES  # no use to look again before so many are held

    @property
    def held_bytes(self) -> int:
        """Bytes of an unfinished frame that are waiting for the rest."""
        return len(self._held)

    def feed(self, received: bytes) -> list[Frame]:
        """Take what the peer sent next; return the frames that are now whole.

        Raises:
            PeerError: no frame can start like this. The stream has lost its place, and the reader with it.
        """
        if self._held:
            self._held += received
            if len(self._held) < self._needed_bytes:
                return []
            received = bytes(self._held)
            self._held.clear()
        frames: list[Frame] = []
        at = 0
        needed = self._measure(received, at)
        while len(received) - at >= needed:
            frames.append(_cut(received, at))
            at += needed
            needed = self._measure(received, at)
        self._needed_bytes = needed
        self._held += received[at:]
        return frames

    def _measure(self, received: bytes, at: int) -> int:
        """Return how many bytes from at on must be there before there is more to tell."""
        held = len(received) - at
        if held < _TOTAL_BYTES:
            return _TOTAL_BYTES
        total = int.from_bytes(received[at : at + 4], "big", signed=True)
        if not 4 <= total <= self._limit_bytes - _TOTAL_BYTES:
            raise PeerError(_explain_length(received[at : at + 4], total))
        if held < PREFIX_BYTES:
            return PREFIX_BYTES
        header = int.from_bytes(received[at + 5 : at + 8], "big")
        if header > total - 4:
            raise PeerError(f"impossible header length {header} in a frame of length {total}")
        return _TOTAL_BYTES + total


def _cut(received: bytes, at: int) -> Frame:
    """Return the whole frame that starts at at."""
    end = at + _TOTAL_BYTES + int.from_bytes(received[at : at + 4], "big")
    word = int.from_bytes(received[at + 4 : at + 8], "big")
    body_at = at + PREFIX_BYTES + (word & HEADER_BYTES_MAX)
    return Frame(word, received[at + PREFIX_BYTES : body_at], received[body_at:end])


def _explain_length(start: bytes, total: int) -> str:
    for foreign, name in _FOREIGN_STARTS:
        if start.startswith(foreign):
            return f"this looks like {name}, not like remoting"
    return f"impossible frame length {total}"
