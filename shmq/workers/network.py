"""A network worker: owns its clients' connections, answers from shared memory what it can.

Each round reads frames first, then the conductor's letters, then completions, and only then serves the
frames: what a client sends after it saw an answer finds the tables at least as new as that answer was.

Killed, its connections drop and its clients reconnect; what it had published is committed all the same. A
successor says hello with a new epoch, and takes no connection before the conductor has told it everything.
"""

import random
from functools import partial
from typing import Final

from shmq import logs
from shmq.broker import updates
from shmq.broker.outcome import Peer
from shmq.broker.replica import Replica, read_limits
from shmq.config.settings import Config
from shmq.fastpath.tables import FastTables
from shmq.memory.words import load_word
from shmq.ring import doorbell, waiting
from shmq.shared import gates, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.bit_marks import ExtensionReader
from shmq.store.key_query import KeyIndexReader
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.frame import Frame
from shmq.workers.advertising import Advertising
from shmq.workers.appending import NEVER, Appender, Waits
from shmq.workers.busy import Busy
from shmq.workers.connection import Limits, Listener
from shmq.workers.letters import FULL_RING_WAIT_MS, Inbox, Kind, Letter, Outbox, pack_request
from shmq.workers.reactor_server import ReactorServer, RowConnection
from shmq.workers.runner import wall_ms
from shmq.workers.serving import Client, Service

LETTERS_PER_ROUND: Final = 256
HOUSEKEEPING_MS: Final = 1000
BACKLOG_MAX: Final = 1024
STOP_PATIENCE_MS: Final = 3000
NS_PER_SPIN: Final = 30


class NetworkWorker:
    """One of the processes that serve TCP clients (see `workers/role.py`)."""

    def __init__(
        self,
        config: Config,
        memory: BrokerMemory,
        index: int,
        listeners: list[Listener],
        bell_descriptor: int,
    ) -> None:
        self._config = config
        self._memory = memory
        self._index = index
        self._log = logs.get(f"net-{index}")
        self._epoch = int(memory.roster[plan.FIRST_WORKER + index]["epoch"])
        self._bell = memory.bell(plan.BELL_FIRST_WORKER + index)
        self._bell_descriptor = bell_descriptor
        self._listeners = listeners
        self._advertising = Advertising(config)
        self._inbox = Inbox(memory.bytes_of(f"down/{index}"), memory.place(f"down/{index}"))
        self._outbox = Outbox(
            memory.bytes_of(f"up/{index}"),
            memory.place(f"up/{index}"),
            config.letter_ring_bytes,
            memory.bell(plan.BELL_CONDUCTOR),
        )
        self._frames: list[tuple[RowConnection, Frame]] = []
        self._is_welcome = False
        self._is_complete = False
        self._is_stopping = False
        self._stop_by_ms = 0
        self._dispatched_seen = 0
        self._housekeeping_at_ms = 0

    def start(self) -> None:
        """Open the store for reading, and ask the conductor for its tables."""
        config, memory = self._config, self._memory
        paths, sizes = StorePaths.of(config), StoreSizes.of(config)
        log = LogReader(paths.commitlog, sizes.commit_log_file_bytes)
        queues = QueueReader(paths.consumequeue, sizes, memory.queues, log, read_limits(config))
        if sizes.extension_file_bytes:
            generation = partial(load_word, memory.place("gates") + gates.FILTERS)
            queues.extensions = ExtensionReader(paths.extensions, sizes.extension_file_bytes, generation)
        self._replica = Replica(
            config,
            memory.offsets,
            queues,
            KeyIndexReader(paths.index, sizes.key_index, log),
            memory.watermarks,
            random.Random(),  # noqa: S311 - it spreads messages over queues
        )
        self._limits = Limits(
            config.frame_bytes_max, config.output_bytes_max, config.connections_max, config.connection_idle_ms
        )
        self._server = ReactorServer(self._limits, self._advertising.host_for, self._log)
        self._server.sleep_on(self._bell, self._bell_descriptor)
        self._server.listen_for_letters(memory.place(f"down/{self._index}"))
        self._server.wait_by(
            waiting.STRATEGIES[config.network_wait_strategy], waiting.spins_before_sleep() * NS_PER_SPIN
        )
        desk = self._server.desk
        self._tables = FastTables(desk, memory, self._replica, self._index, self._epoch)
        ring_ms = config.send_wait_ms_max if config.broker_fast_failure_enable else NEVER
        waits = Waits(ring_ms, config.sync_flush_timeout_ms)
        is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._appender = Appender(memory, self._index, self._epoch, is_sync, waits, desk)
        writer = memory.roster[plan.WRITER]
        self._busy = Busy(memory.place(f"submit/{self._index}"), writer, config.writer_busy_ms_max)
        self._service = Service(
            self._replica, self._server, self._appender, self._outbox, self._epoch, self._log
        )
        self._outbox.post(Kind.HELLO, self._epoch)
        self._outbox.post(Kind.ANNOUNCED, self._epoch)
        self._outbox.flush()

    @property
    def is_ready(self) -> bool:
        """Whether clients are served."""
        return self._is_complete

    def do_work(self, now_ns: int) -> int:  # noqa: ARG002 - its deadlines are wall clock, as the protocol's are
        """Serve what came in, and what has become possible."""
        frames, self._frames = self._frames or self._server.poll(0), []
        now_ms = self._server.now_ms
        work = len(frames) + self._read_letters()
        self._appender.say_busy(is_busy=self._busy.look(now_ms))
        for connection, frame in frames:
            if connection.data is None:
                connection.data = self._introduce(connection)
            self._service.serve(connection, frame, now_ms)
        work += self._appender.collect(now_ms)
        work += self._look_at_parked(now_ms)
        self._mourn()
        self._keep_house(now_ms)
        self._outbox.flush()
        self._appender.flush()
        return work

    def rest(self, timeout_ns: int) -> None:
        """Let the reactor go round until there is something for Python: a frame, a letter, news, or a deadline."""
        news = doorbell.FLUSHED if self._appender.wants_flush_news else 0
        dispatched = doorbell.NONE
        if len(self._service.parking):
            news |= doorbell.DISPATCHED
            dispatched = self._dispatched_seen
        self._server.want(news, self._appender.wanted_flushed, dispatched)
        timeout_ms = timeout_ns // 1_000_000 if self._appender.is_idle else 0
        if self._appender.is_full or self._outbox.backlog:  # no bell is rung when there is room again
            timeout_ms = min(timeout_ms, FULL_RING_WAIT_MS)
        if self._server.has_connections:
            timeout_ms = min(timeout_ms, self._limits.idle_look_ms)
        now_ms = wall_ms()
        timeout_ms = self._busy.wait_ms(timeout_ms)
        timeout_ms = self._appender.wait_ms(now_ms, self._service.parking.wait_ms(now_ms, timeout_ms))
        self._frames += self._server.poll(timeout_ms)

    def wake(self) -> None:
        """Ring one's own bell."""
        doorbell.ring_bell(self._bell)

    def stop(self) -> None:
        """Accept and read no more; finish what was taken on."""
        self._is_stopping = True
        self._stop_by_ms = wall_ms() + STOP_PATIENCE_MS
        self._server.stop_accepting()
        self._server.pause_reading()

    @property
    def is_done(self) -> bool:
        """Whether every request taken on is answered, and every answer sent or given up."""
        if wall_ms() >= self._stop_by_ms:
            return True
        unanswered = self._appender.in_flight + self._tables.in_flight + self._service.in_progress
        return not (unanswered or self._outbox.backlog or self._frames or self._server.output_bytes)

    def close(self) -> None:
        """Close all connections."""
        self._server.close_all()

    def _read_letters(self) -> int:
        read = 0
        for letter in self._inbox.letters(LETTERS_PER_ROUND):
            self._take(letter)
            read += 1
        return read

    def _take(self, letter: Letter) -> None:
        match letter.kind:
            case Kind.RESTARTED:
                self._announce_all()
            case Kind.WELCOME:
                self._is_welcome = letter.tag == self._epoch
                self._replica.distrust_bit_maps()
            case _ if not self._is_welcome:
                return  # it was for a predecessor of ours
            case Kind.UPDATE:
                update = updates.decode(letter.payload)
                self._replica.apply(update)
                self._tables.apply(update)
                self._service.tell(update, self._server.now_ms)
            case Kind.COMPLETE:
                self._open()
            case Kind.ANSWER | Kind.NO_ANSWER:
                self._service.take_answer(letter.tag, letter.payload)
            case Kind.ANSWERED:
                self._service.take_answered(letter.tag, letter.payload)
            case Kind.PUSH:
                self._push(letter.tag, letter.payload)
            case Kind.TRIMMED:
                self._replica.reader.forget_below(letter.tag)
                self._replica.keys.forget_below(letter.tag)
            case Kind.CLOSE:
                connection = self._server.find(letter.tag)
                if connection is not None:
                    self._server.close(connection, letter.payload.decode())
            case _:
                raise AssertionError(f"no conductor sends letters of kind {letter.kind}")

    def _open(self) -> None:
        """Begin to accept: the tables are whole."""
        if not self._is_complete and not self._is_stopping:
            self._is_complete = True
            for listener in self._listeners:
                self._server.listen(listener)

    def _push(self, connection_id: int, frame: bytes) -> None:
        connection = self._server.find(connection_id)
        if connection is not None:
            self._server.send(connection, [frame])

    def _announce_all(self) -> None:
        """Tell a new conductor who we are, which clients we have, and what we still want to know."""
        self._outbox.forget()
        self._outbox.post(Kind.HELLO, self._epoch)
        for connection in self._server.connections:
            client: Client | None = connection.data
            if client is not None and client.heartbeat is not None:
                packed = pack_request(connection.id, client.peer, client.heartbeat)
                self._outbox.post(Kind.ANNOUNCE, connection.id, packed)
        self._outbox.post(Kind.ANNOUNCED, self._epoch)
        self._service.tell_again()

    def _introduce(self, connection: RowConnection) -> Client:
        return Client(Peer(connection.peer, self._advertising.host_for(connection.local), connection.is_vip))

    def _mourn(self) -> None:
        """Take note of connections that went away."""
        if not self._server.closed:
            return
        for connection in self._server.closed:
            client: Client | None = connection.data
            if client is not None and client.is_known:
                self._outbox.post(Kind.CLOSED, connection.id)
        self._server.closed.clear()
        self._service.forget_closed()

    def _look_at_parked(self, now_ms: int) -> int:
        looked = 0
        parking = self._service.parking
        if self._has_moved():
            self._dispatched_seen = self._memory.watermarks.dispatched
            for parked in list(parking.take_grown()):
                self._service.answer_parked(parked, now_ms)
                looked += 1
        for parked in list(parking.take_expired(now_ms)):
            self._service.answer_parked(parked, now_ms)
            looked += 1
        return looked

    def _has_moved(self) -> bool:
        return len(self._service.parking) > 0 and self._memory.watermarks.dispatched != self._dispatched_seen

    def _keep_house(self, now_ms: int) -> None:
        if self._is_stopping:
            return
        if self._appender.is_full or self._outbox.backlog > BACKLOG_MAX:
            self._server.pause_reading()
        else:
            self._server.resume_reading()
        if now_ms >= self._housekeeping_at_ms:
            self._housekeeping_at_ms = now_ms + HOUSEKEEPING_MS
            self._server.expire_idle(now_ms)
