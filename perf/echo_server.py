"""A peer that does nothing but its protocol: asyncio, whole frames in, canned answers out.

    python -m perf.echo_server

What a Python loop can reach at most when it takes one frame at a time: it cuts frames with `shmq.wire`, reads the
opaque out of the JSON header and writes a ready-made answer. No broker in Python that handles frames one by one is
faster; how close shmq comes to it says what its own work costs. Prints `listening on PORT`, then serves until killed.
"""

import asyncio
from typing import Final

import orjson

from shmq.store.host import Host
from shmq.store.record import NewRecord, encode_into, size_of
from shmq.wire.codes import RequestCode
from shmq.wire.command import Command, encode
from shmq.wire.frame import Frame, FrameReader

PULL_MESSAGES: Final = 32
BODY_BYTES: Final = 128

_OPAQUE: Final = 1_111_111_111
_NEXT: Final = "2222222222"
_PROPERTIES: Final = b"UNIQ_KEY\x01" + b"0" * 32 + b"\x02WAIT\x01true\x02TAGS\x01TagA\x02"


class Answers:
    """Answers whose opaque, and next offset, are still to be filled in; both keep their width."""

    def __init__(self) -> None:
        sent = {"msgId": "7F00000100002A9F0000000000000000", "queueId": "0", "queueOffset": "0"}
        self._sent = _ready_made(sent, b"")
        pulled = {"nextBeginOffset": _NEXT, "minOffset": "0", "maxOffset": "0", "suggestWhichBrokerId": "0"}
        self._pulled = _ready_made(pulled, _messages())

    def to(self, frame: Frame) -> bytes:
        """The answer to a request."""
        header = orjson.loads(frame.header)
        opaque = b"%10d" % header["opaque"]
        if header["code"] != RequestCode.PULL_MESSAGE:
            return opaque.join(self._sent)
        before, after = self._pulled
        following = b"%010d" % (int(header["extFields"]["queueOffset"]) + PULL_MESSAGES)
        return opaque.join((before.replace(_NEXT.encode(), following), after))


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._reader = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every frame that is whole now, all with one write."""
        self._transport.write(b"".join(map(self._answers.to, self._reader.feed(data))))


def _ready_made(fields: dict[str, str], body: bytes) -> tuple[bytes, bytes]:
    frame = encode(Command(0, _OPAQUE, flag=1, fields=fields, body=body))
    before, found, after = frame.partition(str(_OPAQUE).encode())
    assert found
    return before, after


def _messages() -> bytes:
    host = Host(bytes((127, 0, 0, 1)), 10911)
    record = NewRecord(b"perf", 0, 0, 0, 0, host, host, 0, 0, bytes(BODY_BYTES), _PROPERTIES)
    buffer = bytearray(size_of(record))
    encode_into(record, memoryview(buffer), 0)
    return bytes(buffer) * PULL_MESSAGES


async def main() -> None:
    """Serve."""
    answers = Answers()
    server = await asyncio.get_running_loop().create_server(lambda: Echo(answers), "127.0.0.1", 0)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
