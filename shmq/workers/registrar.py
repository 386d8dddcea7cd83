"""The registrar: the name server's role, embedded in a broker or alone as `shmq-namesrv`.

It owns the tables of `naming` and the sockets of those who ask. Everything is measured on the monotonic clock: a
lease must not end because somebody set the time. What lasts is the key-value configuration; a document that cannot
be written is logged, and kept in memory. After a crash brokers register again by themselves, as their connections
break.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from shmq import logs
from shmq.config.addresses import join_address
from shmq.errors import PeerError, RequestError, StoreError
from shmq.naming.kv_config import parse_document
from shmq.naming.naming import Naming
from shmq.naming.requests import handle
from shmq.naming.routes import LEASE_MS, BrokerKey
from shmq.naming.settings import NamingSettings
from shmq.store.documents import Document
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import FRAME_BYTES_MAX, Frame
from shmq.workers.connection import Limits, Listener
from shmq.workers.listening import allow_many_descriptors, listen_on
from shmq.workers.pushing import Pusher
from shmq.workers.sockets import BufferedConnection, SocketServer

SCAN_INTERVAL_MS: Final = 5000
STOP_PATIENCE_NS: Final = 1_000_000_000  # for answers that wait to be read
REST_NS_MAX: Final = 60_000_000_000
LIMITS: Final = Limits(
    frame_bytes_max=FRAME_BYTES_MAX, output_bytes_max=64 << 20, connections_max=10_000, idle_ms=120_000
)


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    """How a name server is set up.

    Attributes:
        limits: of its connections.
        kv_path: where the key-value configuration is kept; empty: nowhere.
        scan_interval_ms: how often silent brokers are looked for.
        lease_ms: how long a broker may be silent that does not say itself how long.
        own: the broker that it is a part of, if it is of any.
    """

    limits: Limits = LIMITS
    kv_path: str = ""
    scan_interval_ms: int = SCAN_INTERVAL_MS
    lease_ms: int = LEASE_MS
    own: BrokerKey | None = None


class Registrar:
    """The role."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        settings: RegistrarSettings,
        log: Any,
        is_needed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take over listening sockets; nobody is accepted before start().

        Args:
            listeners: where those who ask come in.
            settings: how it is set up.
            log: its logger.
            is_needed: whether somebody must still be served after stop(), as a broker that unregisters.
        """
        self._listeners = listeners
        self._is_needed = is_needed
        self._log = log
        self._settings = settings
        self._document = (
            Document(Path(settings.kv_path), _validated, _validated) if settings.kv_path else None
        )
        naming_settings = NamingSettings(
            kv_config_path=settings.kv_path, scan_interval_ms=settings.scan_interval_ms
        )
        self._naming = Naming(monotonic_ms(), naming_settings, settings.lease_ms, settings.own)
        self._server = SocketServer([], settings.limits, log)
        self._pusher = Pusher(self._server, log)
        self._frames: list[tuple[BufferedConnection, Frame]] = []
        self._scan_at_ms = 0
        self._stop_by_ns: int | None = None
        self._is_ready = False

    def start(self) -> None:
        """Load what lasts, then accept.

        Raises:
            StoreError: there is a document, and it cannot be read.
        """
        document = self._document.load() if self._document is not None else None
        if document is not None:
            self._naming.kv.load(document)
        for listener in self._listeners:
            self._server.listen(listener)
        self._is_ready = True

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._is_ready

    def do_work(self, now_ns: int) -> int:
        """Answer what came in, and look for who went away."""
        now_ms = now_ns // 1_000_000
        frames, self._frames = self._frames or self._server.poll(0, monotonic_ms), []
        for connection, frame in frames:
            self._serve(connection, frame, now_ms)
        for connection in self._server.closed:
            self._naming.channel_closed(connection.id, now_ms)
        self._server.closed.clear()
        if now_ms >= self._scan_at_ms:
            self._scan(now_ms)
            self._scan_at_ms = self._next_scan_ms(now_ms, self._settings.limits.idle_look_ms)
        elif frames:
            self._scan_at_ms = min(self._scan_at_ms, self._next_scan_ms(now_ms, self._scan_at_ms - now_ms))
        self._pusher.offer(self._naming.pushes, now_ms)
        self._naming.pushes.clear()
        self._pusher.push(now_ms)
        for note in self._naming.notes:
            getattr(self._log, note.level)(note.event, **note.fields)
        self._naming.notes.clear()
        return len(frames)

    def rest(self, timeout_ns: int) -> None:
        """Sleep in epoll: for frames, or what is due next."""
        due_ms = min(self._scan_at_ms, self._pusher.due_ms) - monotonic_ms()
        self._frames += self._server.poll(max(0, min(timeout_ns // 1_000_000, due_ms)), monotonic_ms)

    def wake(self) -> None:
        """End the wait in epoll."""
        self._server.wake()

    def stop(self) -> None:
        """Accept nobody; read on for as long as somebody needs it."""
        self._server.stop_accepting()

    @property
    def is_done(self) -> bool:
        """Whether nobody needs it, and every answer has been sent, or given up."""
        if self._is_needed():
            return False
        if self._stop_by_ns is None:
            self._stop_by_ns = time.monotonic_ns() + STOP_PATIENCE_NS
            self._server.pause_reading()
        return not (self._frames or self._server.output_bytes) or time.monotonic_ns() > self._stop_by_ns

    def close(self) -> None:
        """Close all connections."""
        self._pusher.close()
        self._server.close_all()
        for listener in self._listeners:
            listener.socket.close()

    def _serve(self, connection: BufferedConnection, frame: Frame, now_ms: int) -> None:
        try:
            request = decode(frame)
        except PeerError as error:
            self._server.close(connection, str(error))
            return
        if request.is_response:
            self._log.debug("response dropped, nothing was asked", code=request.code, opaque=request.opaque)
            return
        answer = handle(self._naming, request, connection.id, connection.local, now_ms)
        if self._naming.kv.is_changed:
            self._save()
        if not request.is_oneway:
            self._server.send(connection, [_encode(request, answer)])

    def _save(self) -> None:
        self._naming.kv.is_changed = False
        if self._document is None:
            return
        try:
            self._document.persist(self._naming.kv.render())
        except StoreError as error:
            self._log.error("configuration not saved", reason=str(error))

    def _next_scan_ms(self, now_ms: int, latest_ms: int) -> int:
        """When to look again: when the first lease ends, or after a time; but not more often than is set."""
        end_ms = self._naming.routes.next_end_ms()
        due_ms = now_ms + latest_ms if end_ms is None else min(now_ms + latest_ms, end_ms + 1)
        return max(due_ms, now_ms + self._naming.settings.scan_interval_ms)

    def _scan(self, now_ms: int) -> None:
        for channel_id in self._naming.expire(now_ms):
            connection = self._server.find(channel_id)
            if connection is not None:
                self._server.close(connection, "the broker on it has been silent for too long")
        self._server.expire_idle(now_ms)


def monotonic_ms() -> int:
    """Milliseconds since some moment, which nobody can set."""
    return time.monotonic_ns() // 1_000_000


def serve_alone(listen: str, kv_path: str = "", log_directory: str = "", log_level: str = "info") -> int:
    """Run a name server in this process until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigError: nobody can listen there, or write logs there.
        StoreError: the key-value configuration cannot be read.
    """
    logs.start("namesrv", log_directory, log_level)
    log = logs.get(__name__)
    allow_many_descriptors()
    listening = listen_on(listen)
    host, port = listening.getsockname()[:2]
    registrar = Registrar([Listener(listening)], RegistrarSettings(kv_path=kv_path), log)
    signals = _Signals(registrar.wake)
    registrar.start()
    address = join_address(host, port)
    log.info("ready", address=address)
    print(f"shmq-namesrv ready on {address}", flush=True)  # noqa: T201 - who started it waits for this line
    is_stopping = False
    while not (is_stopping and registrar.is_done):
        if signals.stop_asked and not is_stopping:
            is_stopping = True
            registrar.stop()
        if signals.take_reopen():
            logs.reopen()
        if registrar.do_work(time.monotonic_ns()) == 0 and not (is_stopping and registrar.is_done):
            registrar.rest(REST_NS_MAX)
    signals.close()
    registrar.close()
    log.info("stopped")
    return 0


class _Signals:
    """SIGTERM, SIGINT and SIGHUP as flags; each ends a rest.

    Attributes:
        stop_asked: whether to stop.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.stop_asked = False
        self._reopen_asked = False
        self._wake = wake
        signal.signal(signal.SIGTERM, self._ask_stop)
        signal.signal(signal.SIGINT, self._ask_stop)
        signal.signal(signal.SIGHUP, self._ask_reopen)

    def take_reopen(self) -> bool:
        """Return whether the log file is to be opened anew, once."""
        asked, self._reopen_asked = self._reopen_asked, False
        return asked

    def close(self) -> None:
        """Leave the signals to the system; a second one ends the process."""
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)

    def _ask_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stop_asked = True
        self._wake()

    def _ask_reopen(self, _signal: int, _frame: FrameType | None) -> None:
        self._reopen_asked = True
        self._wake()


def _encode(request: Command, answer: Command) -> bytes:
    try:
        return encode(answer)
    except RequestError as error:  # too long for a frame
        return encode(request.reply(error.code, error.remark))


def _validated(document: bytes) -> bytes:
    parse_document(document)
    return document
