"""The protocol of a client without its sockets: exchanges, the conversation that carries them, and flows.

An Exchange is one request and what became of it. A Conversation is one connection's exchanges: bytes to write
come out of it, bytes that were read go into it, and answers find their requests in whatever order they come.

A Flow is a piece of client logic as a generator: it yields what it wants done (`Begin` an exchange, `Await` one
of several) and goes on when that is so. A transport drives it, blocking (`connection.py`) or on an event loop
(`aio.py`); so the logic is written once, and a test could drive it with no socket at all. A flow reads results off
its exchanges: a transport never raises into it.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from shmq.client.errors import ClientError, MessageError, NoAnswerError, RefusedError
from shmq.errors import PeerError, RequestError
from shmq.wire.codes import Language, ResponseCode
from shmq.wire.command import FLAG_ONEWAY, Command, decode, encode
from shmq.wire.fields import read_header
from shmq.wire.frame import FrameReader

HeaderT = TypeVar("HeaderT")
ResultT = TypeVar("ResultT")

_OPAQUE_MAX: Final = (1 << 31) - 1


class Exchange:
    """One request to one peer and, once it is done, the answer or why there is none.

    Attributes:
        address: the peer, `host:port`.
        request: what is asked.
        deadline_s: on the monotonic clock, when the answer is no longer waited for.
        connection: the number of the connection that carried it, 0 before; no two have the same.
        begun_s: when it was written.
        watchers: called when it is done; a transport adds those who wait.
    """

    __slots__ = (
        "_error",
        "_response",
        "address",
        "begun_s",
        "connection",
        "deadline_s",
        "request",
        "watchers",
    )

    def __init__(self, address: str, request: Command, deadline_s: float) -> None:
        self.address = address
        self.request = request
        self.deadline_s = deadline_s
        self.connection = 0
        self.begun_s = 0.0
        self.watchers: list[Callable[[], None]] = []
        self._response: Command | None = None
        self._error: ClientError | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return self._response is not None or self._error is not None

    def complete(self, response: Command) -> None:
        """Take the answer; the first ending counts."""
        if not self.is_done:
            self._response = response
            self._tell()

    def fail(self, error: ClientError) -> None:
        """End without an answer; the first ending counts."""
        if not self.is_done:
            self._error = error
            self._tell()

    def result(self) -> Command:
        """Return the answer, whatever its code.

        Raises:
            ClientError: there is none.
        """
        if self._error is not None:
            raise self._error
        assert self._response is not None
        return self._response

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()


class Conversation:
    """The exchanges of one connection, and the bytes they become."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._waiting: dict[int, Exchange] = {}
        self._opaque = 0

    def begin(self, exchange: Exchange) -> bytes:
        """Return the bytes of a request; none if it cannot be sent, which ends the exchange."""
        request = exchange.request
        self._opaque = self._opaque % _OPAQUE_MAX + 1
        request.opaque = self._opaque
        try:
            frame = encode(request)
        except RequestError as error:
            exchange.fail(MessageError(error.remark))
            return b""
        self._waiting[self._opaque] = exchange
        return frame

    def written(self, exchange: Exchange) -> None:
        """Take note that the bytes of a request are on their way: for a oneway one that is all."""
        if exchange.request.is_oneway:
            self.forget(exchange)
            exchange.complete(exchange.request.reply())

    def forget(self, exchange: Exchange) -> None:
        """Drop the answer to this exchange should it still come."""
        self._waiting.pop(exchange.request.opaque, None)

    def feed(self, received: bytes) -> bytes:
        """Take what the peer sent; return what is to be written back.

        Raises:
            PeerError: the peer does not speak the protocol.
        """
        answers = []
        for frame in self._frames.feed(received):
            command = decode(frame)
            if command.is_response:
                exchange = self._waiting.pop(command.opaque, None)
                if exchange is not None:
                    exchange.complete(command)
            elif not command.is_oneway:
                answers.append(encode(_unsupported(command)))
        return b"".join(answers)

    def fail(self, error: ClientError) -> None:
        """End every exchange that still waits: the connection is no more."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for exchange in waiting:
            exchange.fail(error)


@dataclass(frozen=True, slots=True)
class Begin:
    """Write this request, connecting first if need be. On a failure the exchange is done."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Await:
    """Go on when one of these is done or fails by its deadline, at until_s at the latest."""

    exchanges: tuple[Exchange, ...]
    until_s: float


Effect: TypeAlias = Begin | Await
Flow: TypeAlias = Generator[Effect, None, ResultT]


def ask(address: str, request: Command, deadline_s: float) -> Flow[Command]:
    """Return the answer to a request, whatever its code."""
    exchange = Exchange(address, request, deadline_s)
    yield Begin(exchange)
    yield from finish(exchange)
    return exchange.result()


def finish(exchange: Exchange) -> Flow[None]:
    """Wait until an exchange is done."""
    while not exchange.is_done:
        yield Await((exchange,), exchange.deadline_s)


def demand(exchange: Exchange) -> Command:
    """Return the answer of a finished exchange if it is a success.

    Raises:
        RefusedError: it is another.
        ClientError: there is none.
    """
    response = exchange.result()
    if response.code != ResponseCode.SUCCESS:
        raise RefusedError(response.code, response.remark, exchange.address)
    return response


def read_answer(kind: type[HeaderT], response: Command, address: str) -> HeaderT:
    """Return the header of an answer.

    Raises:
        PeerError: it lacks what it must hold.
    """
    try:
        return read_header(kind, response.fields)
    except RequestError as error:
        raise PeerError(f"{address} answered an unreadable header: {error.remark}") from error


def request_of(
    code: int, fields: dict[str, str] | None = None, body: bytes = b"", *, oneway: bool = False
) -> Command:
    """Return a request of ours."""
    return Command(
        code=code,
        flag=FLAG_ONEWAY if oneway else 0,
        language=Language.PYTHON,
        fields={} if fields is None else fields,
        body=body,
    )


def expired(exchanges: Iterable[Exchange], now_s: float) -> list[Exchange]:
    """End the exchanges whose time is over; return them."""
    late = [exchange for exchange in exchanges if not exchange.is_done and exchange.deadline_s <= now_s]
    for exchange in late:
        waited_s = max(0.0, now_s - exchange.begun_s)
        exchange.fail(NoAnswerError(f"{exchange.address} did not answer in {waited_s:.1f} s"))
    return late


def _unsupported(request: Command) -> Command:
    """Return the answer to a broker's question that this client has no answer to."""
    return request.reply(
        ResponseCode.REQUEST_CODE_NOT_SUPPORTED,
        f"this client does not answer requests of type {request.code}",
    )
