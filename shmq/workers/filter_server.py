"""The filter server: consumers upload a filter to it, and pull through it; `shmq-filter-server`.

It stands between consumers and one broker, at which it registers. What a consumer uploads
(REGISTER_MESSAGE_FILTER_CLASS) is Python or WebAssembly, and runs in a process that can do nothing else (`jail.py`), one
for each group and topic. A pull is passed on to the broker, which lets it wait; of the messages that come back only
those that match go to the consumer, as they were stored. A filter that fails, or takes too long, is an error of the pull:
no message is passed over because of it.

It keeps nothing on disk. Killed, its consumers pull again and get an error until their next heartbeat uploads the filter
again, half a minute later at most.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import FrameType
from typing import Any, Final

import orjson

from shmq import logs
from shmq.broker.class_filters import check_source
from shmq.config.addresses import join_address
from shmq.errors import ConfigError, PeerError, RequestError
from shmq.sandbox.frames import Parts
from shmq.sandbox.seccomp import is_supported
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command, decode, encode, encode_head
from shmq.wire.consume_headers import (
    PullHeader,
    RegisterFilterClassHeader,
    RegisterFilterServerHeader,
)
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PULL_SUBSCRIPTION, PULL_SUSPEND
from shmq.wire.frame import Frame
from shmq.wire.message import ReceivedMessage, decode_messages, write_properties
from shmq.workers.connection import Limits, Listener
from shmq.workers.jail import Answer, Jail, JailLimits
from shmq.workers.link import Link
from shmq.workers.listening import listen_on
from shmq.workers.registrar import monotonic_ms
from shmq.workers.sockets import BufferedConnection, SocketServer

GROUP: Final = "FILTERSRV_CONSUMER"
"""A group of every broker, for filter servers to read as."""

REGISTER_MS: Final = 10_000
REST_MS_MAX: Final = 60_000
PULL_MS_MAX: Final = 40_000
"""So long a pull may be with the broker: it lets it wait for 15 s where the client does not say otherwise."""
FAILURES_MAX: Final = 3
"""A filter that ended so often without an answer between is not started again until another is uploaded."""
FILTERS_MAX: Final = 64
WAITING_MAX: Final = 256
"""So many pulls may wait for one filter."""


@dataclass(slots=True)
class _Filter:
    """A filter of a group for a topic."""

    source: bytes
    jail: Jail
    failures: int = 0
    reason: str = ""
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the broker was asked, and what is done with its answer; None: there is none."""

    deadline_ms: int
    then: Callable[[Command | None], None]


class FilterServer:
    """The role, over sockets of its own.

    Attributes:
        is_registered: whether the broker has taken it.
    """

    def __init__(
        self, listener: Listener, address: str, broker: str, jail_limits: JailLimits, log: Any
    ) -> None:
        """Take over a listening socket; nobody is accepted before start().

        Args:
            listener: where consumers come in.
            address: what they are told to dial.
            broker: whose messages are filtered.
            jail_limits: what each filter may take.
            log: the logger.
        """
        self.is_registered = False
        self._listener = listener
        self._address = address
        self._jail_limits = jail_limits
        self._log = log
        self._server = SocketServer([], Limits(8 << 20, 64 << 20, 1000, 120_000), log)
        self._link = Link(broker, self._server, log)
        self._filters: dict[tuple[str, str], _Filter] = {}
        self._starting: dict[tuple[str, str], _Filter] = {}
        self._asked: dict[int, _Asked] = {}
        self._opaques = count(1)
        self._epoch = 0
        self._register_at_ms = 0
        self._expire_at_ms = 0

    def start(self) -> None:
        """Accept consumers."""
        self._server.listen(self._listener)

    def work(self, timeout_ms: int) -> None:
        """Wait at most so long, and do what there is."""
        now_ms = monotonic_ms()
        for connection, frame in self._server.poll(
            max(0, min(timeout_ms, self._due_ms() - now_ms)), monotonic_ms
        ):
            self._serve(connection, frame)
        self._server.closed.clear()
        now_ms = monotonic_ms()
        self._link.tick(now_ms)
        self._hear_broker(now_ms)
        for found in self._everyone():
            found.jail.tick(now_ms)
        if now_ms >= self._expire_at_ms:
            self._expire_at_ms = now_ms + 1000
            self._server.expire_idle(now_ms)
            for opaque in [each for each, asked in self._asked.items() if asked.deadline_ms <= now_ms]:
                self._asked.pop(opaque).then(None)

    def wake(self) -> None:
        """End a wait."""
        self._server.wake()

    def close(self) -> None:
        """Close all connections, and end all filters."""
        self._link.close()
        for found in self._everyone():
            found.jail.close()
        self._server.close_all()
        self._listener.socket.close()

    def _due_ms(self) -> int:
        filters = (found.jail.due_ms for found in self._everyone())
        return min(self._link.due_ms, self._register_at_ms, self._expire_at_ms, *filters)

    def _everyone(self) -> list[_Filter]:
        return [*self._filters.values(), *self._starting.values()]

    # The broker.

    def _hear_broker(self, now_ms: int) -> None:
        if self._link.epoch != self._epoch or not self._link.is_connected:
            self._epoch = self._link.epoch
            self._register_at_ms = 0 if self._link.is_connected else now_ms + REGISTER_MS
            self.is_registered = False
            lost, self._asked = self._asked, {}
            for asked in lost.values():
                asked.then(None)
        answers, self._link.received = self._link.received, []
        for answer in answers:
            asked_for = self._asked.pop(answer.opaque, None) if answer.is_response else None
            if asked_for is not None:
                asked_for.then(answer)
        if self._link.is_connected and now_ms >= self._register_at_ms:
            self._register_at_ms = now_ms + REGISTER_MS
            fields = write_header(RegisterFilterServerHeader(address=self._address))
            self._ask_broker(RequestCode.REGISTER_FILTER_SERVER, fields, self._take_registered, REGISTER_MS)

    def _take_registered(self, answer: Command | None) -> None:
        is_taken = answer is not None and answer.code == ResponseCode.SUCCESS
        if is_taken != self.is_registered:
            self._log.info("registered" if is_taken else "registration lost", broker=self._link.address)
        if answer is not None and not is_taken:
            self._log.warning("not registered", broker=self._link.address, reason=answer.remark)
        self.is_registered = is_taken

    def _ask_broker(
        self, code: RequestCode, fields: dict[str, str], then: Callable[[Command | None], None], time_ms: int
    ) -> None:
        opaque = next(self._opaques) & 0x7FFF_FFFF
        if self._link.send(Command(code, opaque, fields=fields)):
            self._asked[opaque] = _Asked(monotonic_ms() + time_ms, then)
        else:
            then(None)

    # Consumers.

    def _serve(self, connection: BufferedConnection, frame: Frame) -> None:
        try:
            request = decode(frame)
        except PeerError as error:
            self._server.close(connection, str(error))
            return
        if request.is_response:
            return
        try:
            if request.code == RequestCode.REGISTER_MESSAGE_FILTER_CLASS:
                self._upload(connection, request)
            elif request.code == RequestCode.PULL_MESSAGE:
                self._pull(connection, request)
            else:
                remark = f" request type {request.code} not supported"
                raise RequestError(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, remark)  # noqa: TRY301 - one answer to all
        except RequestError as error:
            self._refuse(connection, request, error.remark, ResponseCode(error.code))

    def _upload(self, connection: BufferedConnection, request: Command) -> None:
        """Take a filter on, in the place of another once it is well; the same one again changes nothing."""
        header = read_header(RegisterFilterClassHeader, request.fields)
        key = header.consumer_group, header.topic
        source = bytes(request.body)
        found = self._filters.get(key)
        if found is not None and found.source == source and found.failures < FAILURES_MAX:
            self._server.send(connection, [encode(request.reply())])
            return
        check_source(source, header.class_crc32)
        if found is None and len(self._filters) >= FILTERS_MAX:
            raise RequestError(ResponseCode.SYSTEM_ERROR, f"there are {FILTERS_MAX} filters already")

        def then(answer: Answer) -> None:
            if self._starting.get(key) is taken:
                del self._starting[key]
            if answer.failure:
                remark = f"the filter of {key[0]} for {key[1]} was not taken on: {answer.failure}"
                self._refuse(connection, request, remark)
                return
            replaced = self._filters.get(key)
            self._filters[key] = taken
            if replaced is not None:
                replaced.jail.close()
            self._server.send(connection, [encode(request.reply())])

        taken = _Filter(source, Jail(source, self._jail_limits, self._server))
        overtaken = self._starting.pop(key, None)
        if overtaken is not None:
            overtaken.jail.close()
        self._starting[key] = taken
        taken.jail.begin(then, monotonic_ms())

    def _pull(self, connection: BufferedConnection, request: Command) -> None:
        header = read_header(PullHeader, request.fields)
        key = header.consumer_group, header.topic
        found = self._filters.get(key)
        if found is None:
            raise RequestError(ResponseCode.SYSTEM_ERROR, "Find Filter class failed, not registered")
        if found.failures >= FAILURES_MAX:
            remark = f"the filter of {key[0]} for {key[1]} ended {FAILURES_MAX} times: {found.reason}"
            raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
        if found.waiting >= WAITING_MAX:
            raise RequestError(ResponseCode.SYSTEM_BUSY, f"{WAITING_MAX} pulls wait for this filter")
        asked = PullHeader(
            consumer_group=GROUP,
            topic=header.topic,
            queue_id=header.queue_id,
            queue_offset=header.queue_offset,
            message_count_max=header.message_count_max,
            sys_flag=(header.sys_flag & PULL_SUSPEND) | PULL_SUBSCRIPTION,
            commit_offset=0,
            suspend_timeout_ms=header.suspend_timeout_ms,
            subscription="*",
            subscription_version=0,
        )

        def then(answer: Command | None) -> None:
            if answer is None:
                self._refuse(connection, request, f"the broker {self._link.address} does not answer")
            elif answer.code == ResponseCode.SUCCESS:
                self._judge(connection, request, key, answer)
            else:
                passed_on = request.reply(ResponseCode(answer.code), answer.remark, dict(answer.fields))
                self._server.send(connection, [encode(passed_on)])

        self._ask_broker(RequestCode.PULL_MESSAGE, write_header(asked), then, PULL_MS_MAX)

    def _judge(
        self, connection: BufferedConnection, request: Command, key: tuple[str, str], pulled: Command
    ) -> None:
        """Ask the filter which of the messages match, and answer with those."""
        found = self._filters[key]
        body = bytes(pulled.body)
        messages = decode_messages(body)
        if not found.jail.is_alive:
            found.jail = Jail(found.source, self._jail_limits, self._server)
            found.jail.begin(lambda _: None, monotonic_ms())

        def then(answer: Answer) -> None:
            found.waiting -= 1
            if answer.failure:
                found.reason = answer.failure
                found.failures += not found.jail.is_alive
                remark = (
                    f"do Message Filter Exception, ConsumerGroup: {key[0]} Topic: {key[1]} {answer.failure}"
                )
                self._refuse(connection, request, remark)
                return
            found.failures = 0
            kept = _matching(body, messages, answer.verdicts)
            code = ResponseCode.SUCCESS if kept else ResponseCode.PULL_RETRY_IMMEDIATELY
            reply = request.reply(code, None, dict(pulled.fields))
            self._server.send(connection, [encode_head(reply, sum(map(len, kept))), *kept])

        found.waiting += 1
        found.jail.ask([to_parts(each) for each in messages], then, monotonic_ms())

    def _refuse(
        self,
        connection: BufferedConnection,
        request: Command,
        remark: str,
        code: ResponseCode = ResponseCode.SYSTEM_ERROR,
    ) -> None:
        self._log.info("refused", code=request.code, remark=remark)
        self._server.send(connection, [encode(request.reply(code, remark))])


def to_parts(message: ReceivedMessage) -> Parts:
    """A message as a jail gets it."""
    facts = {
        "topic": message.topic,
        "queue_id": message.queue_id,
        "queue_offset": message.queue_offset,
        "born_ms": message.born_timestamp_ms,
        "store_ms": message.store_timestamp_ms,
        "reconsume_times": message.reconsume_times,
        "sys_flag": message.sys_flag,
    }
    return Parts(orjson.dumps(facts), write_properties(message.properties).encode(), message.body)


def _matching(body: bytes, messages: list[ReceivedMessage], verdicts: tuple[bool, ...]) -> list[memoryview]:
    """The stored bytes of the messages that match."""
    view, at = memoryview(body), 0
    kept = []
    for message, matches in zip(messages, verdicts, strict=True):
        if matches:
            kept.append(view[at : at + message.size_bytes])
        at += message.size_bytes
    return kept


def serve(listen: str, advertised: str, broker: str, limits: JailLimits) -> int:
    """Run a filter server in this process until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigError: nobody can listen there.
    """
    logs.start("filter-server", "", "info")
    log = logs.get(__name__)
    if not is_supported():
        raise ConfigError(
            "filter servers need Linux on x86_64 or aarch64: their sandbox is a filter of its system calls"
        )
    listening = listen_on(listen)
    address = advertised or join_address(*listening.getsockname()[:2])
    server = FilterServer(Listener(listening), address, broker, limits, log)
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        server.wake()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    server.start()
    log.info("ready", address=address)
    print(f"shmq-filter-server ready on {address}", flush=True)  # noqa: T201 - who started it waits for this line
    while not asked:
        server.work(REST_MS_MAX)
    server.close()
    log.info("stopped")
    return 0
