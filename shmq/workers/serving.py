"""Serve requests: find the handler, do what its outcome asks, send the answer; errors become response codes.

Between a request and its answer may lie an append, a wait in the parking, a question to the conductor, each
with a continuation. All of them come back here, so that an error in any of them is answered the same way. A
client that went away costs nothing: what is sent to a closed connection is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shmq.broker.outcome import Answered, Append, Appended, Ask, Await, Call, Outcome, Park, Peer, Reply
from shmq.broker.pop.desk import news_of
from shmq.broker.replica import Replica
from shmq.broker.requests import REQUESTS, Plane, Request
from shmq.broker.sending import handle_send
from shmq.broker.updates import Update
from shmq.errors import PeerError, RequestError
from shmq.shared import roster
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode, encode_head
from shmq.wire.frame import Frame
from shmq.workers.appending import Appender
from shmq.workers.connection import name_of
from shmq.workers.letters import Kind, Outbox, pack_frame, pack_request
from shmq.workers.parking import Parked, Parking
from shmq.workers.reactor_server import ReactorServer, RowConnection
from shmq.workers.runner import wall_ms

_BUSY: Final = "[REJECTREQUEST]system busy, start flow control for a while"
"""RocketMQ's words; clients' tests match the bracketed one."""


@dataclass(slots=True)
class Client:
    """What a network worker keeps about a connection (`Connection.data`).

    Attributes:
        peer: who it is, for handlers.
        heartbeat: its last heartbeat, to be announced again to a new conductor.
        is_known: whether the conductor has heard of the connection.
    """

    peer: Peer
    heartbeat: Frame | None = None
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who waits for an answer."""

    connection: RowConnection
    command: Command


@dataclass(slots=True)
class Outstanding:
    """What the conductor has been sent and has not answered."""

    requests: dict[int, tuple[Caller, Frame]] = field(default_factory=dict)
    questions: dict[int, tuple[Caller, Ask]] = field(default_factory=dict)


class Service:
    """The requests of one network worker's clients.

    Attributes:
        outstanding: what waits for the conductor.
        parking: what waits for messages.
        served: how many requests were taken on.
    """

    def __init__(
        self,
        replica: Replica,
        server: ReactorServer,
        appender: Appender,
        outbox: Outbox,
        epoch: int,
        log: Any,
    ) -> None:
        self._replica = replica
        self._server = server
        self._appender = appender
        self._outbox = outbox
        self._log = log
        self._serials = roster.serials(epoch)
        self.outstanding = Outstanding()
        self.parking = Parking(replica.reader.queues.max)
        replica.pops.count_held = self.parking.count
        self.served = 0

    def serve(self, connection: RowConnection, frame: Frame, now_ms: int) -> None:
        """Take on a frame that a client sent."""
        self.served += 1
        try:
            command = decode(frame)
        except PeerError as error:
            self._server.close(connection, str(error))
            return
        if command.is_response:
            self._outbox.post(Kind.RESPONSE, connection.id, pack_frame(frame))
            return
        request = REQUESTS.get(command.code)
        caller = Caller(connection, command)
        if request is None or (connection.is_vip and not request.on_vip):
            self._refuse_unknown(caller)
        elif request.plane is Plane.CONTROL:
            self._forward(caller, frame)
        else:
            client: Client = connection.data
            self._go_on(caller, lambda: self._handle(request, caller, client.peer, now_ms))

    def answer_parked(self, parked: Parked, now_ms: int) -> None:
        """Look again at a pull that waited, for the last time if its deadline is over."""
        caller: Caller = parked.owner
        is_last = now_ms >= parked.park.deadline_ms
        if caller.connection.is_open:
            self._go_on(caller, lambda: parked.park.again(now_ms, is_last))

    def tell(self, update: Update, now_ms: int) -> None:
        """Look again at what listens for what an update says."""
        news = news_of(update)
        if news is not None:
            for parked in list(self.parking.take_told(news)):
                self.answer_parked(parked, now_ms)

    def take_answer(self, serial: int, answer: bytes) -> None:
        """Pass the conductor's answer to a request on; no bytes mean that there is none."""
        found = self.outstanding.requests.pop(serial, None)
        if found is not None and answer and not found[0].command.is_oneway:
            self._server.send(found[0].connection, [answer])

    def take_answered(self, serial: int, payload: bytes) -> None:
        """Go on with the request for which the conductor was asked."""
        found = self.outstanding.questions.pop(serial, None)
        if found is not None:
            caller, ask = found
            answered = Answered(*orjson.loads(payload))
            self._go_on(caller, lambda: ask.then(answered))

    def tell_again(self) -> None:
        """Send a new conductor all that its predecessor has not answered."""
        for serial, (caller, frame) in self.outstanding.requests.items():
            client: Client = caller.connection.data
            self._outbox.post(Kind.REQUEST, serial, pack_request(caller.connection.id, client.peer, frame))
        for serial, (_, ask) in self.outstanding.questions.items():
            self._outbox.post(Kind.ASK, serial, [orjson.dumps(ask.question)])

    def forget_closed(self) -> None:
        """Drop what clients waited for that went away."""
        self.parking.forget(lambda caller: not caller.connection.is_open)

    @property
    def in_progress(self) -> int:
        """How many requests wait for the conductor."""
        return len(self.outstanding.requests) + len(self.outstanding.questions)

    def _handle(self, request: Request, caller: Caller, peer: Peer, now_ms: int) -> Outcome:
        if request.handler is handle_send and self._appender.is_busy:
            raise RequestError(ResponseCode.SYSTEM_BUSY, _BUSY)
        handled: Outcome = request.handler(self._replica, caller.command, peer, now_ms)
        return handled

    def _go_on(self, caller: Caller, step: Callable[[], Outcome]) -> None:
        """Take the next step of a request, and do what it asks."""
        try:
            self._perform(caller, step())
        except RequestError as error:
            answer = caller.command.reply(ResponseCode(error.code), error.remark, error.fields)
            self._reply(caller, answer, ())
        except Exception as error:  # noqa: BLE001 - one request must not end the worker: logged and answered
            self._log.exception("request failed", code=caller.command.code)
            remark = f"{type(error).__name__}: {error}"
            self._reply(caller, caller.command.reply(ResponseCode.SYSTEM_ERROR, remark), ())

    def _perform(self, caller: Caller, outcome: Outcome) -> None:
        match outcome:
            case Reply(command, pieces):
                self._reply(caller, command, pieces)
            case Append():
                append = outcome

                def then(appended: Appended) -> None:
                    self._go_on(caller, lambda: append.then(appended))

                self._appender.submit(append, then, wall_ms(), is_patient=caller.command.is_oneway)
            case Park():
                self.parking.add(outcome, caller)
            case Ask(question):
                serial = next(self._serials)
                self.outstanding.questions[serial] = (caller, outcome)
                self._outbox.post(Kind.ASK, serial, [orjson.dumps(question)])
            case Call() | Await():
                raise AssertionError("the conductor alone calls clients, and waits for what it does itself")

    def _reply(self, caller: Caller, command: Command, pieces: tuple[memoryview, ...]) -> None:
        if caller.command.is_oneway:
            return
        if pieces:
            head = encode_head(command, sum(map(len, pieces)))
            self._server.send(caller.connection, [head, *pieces])
        else:
            self._server.send(caller.connection, [encode(command)])

    def _forward(self, caller: Caller, frame: Frame) -> None:
        connection = caller.connection
        client: Client = connection.data
        client.is_known = True
        if caller.command.code == RequestCode.HEART_BEAT:
            client.heartbeat = frame
        elif caller.command.code == RequestCode.UNREGISTER_CLIENT:
            client.heartbeat = None
        serial = next(self._serials)
        self.outstanding.requests[serial] = (caller, frame)
        self._outbox.post(Kind.REQUEST, serial, pack_request(connection.id, client.peer, frame))

    def _refuse_unknown(self, caller: Caller) -> None:
        code = caller.command.code
        self._log.info("request not supported", code=code, peer=name_of(caller.connection.peer))
        # The blank is RocketMQ's; clients' tests match the text.
        remark = f" request type {code} not supported"
        self._reply(caller, caller.command.reply(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, remark), ())
