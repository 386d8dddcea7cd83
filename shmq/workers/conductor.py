"""The conductor: alone changes metadata, and does what is due by the clock.

It answers the control requests that network workers forward, tells all of them what has changed before an
answer goes out, saves documents, registers at the name servers, delivers delayed messages, lets old files go, and is
itself a sender to the commit writer.

Killed, the tables in shared memory stand as they are; a successor makes the rest anew from the documents, has every
worker announce itself and its clients, and answers again what was asked and not answered. A request it had carried
out may so be carried out twice; all of them bear that.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import orjson

from shmq import logs
from shmq.broker.answering import answer_stranger, handle_question
from shmq.broker.effects import (
    Clean,
    CloseChannel,
    DocumentName,
    Effect,
    Persist,
    Publish,
    Push,
    RegisterTopics,
)
from shmq.broker.metadata import Metadata
from shmq.broker.offsets import Tables
from shmq.broker.outcome import Append, Appended, Ask, Await, Call, Channel, Outcome, Park, Peer, Reply
from shmq.broker.requests import REQUESTS
from shmq.broker.store_reader import StoreReader
from shmq.broker.updates import PopFreedUpdate, SubscriptionUpdate
from shmq.config.settings import Config
from shmq.errors import PeerError, RequestError
from shmq.memory.words import load_word
from shmq.ring import doorbell
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import Frame
from shmq.workers.agenda import Agenda, Company
from shmq.workers.answers import Answers
from shmq.workers.appending import Appender, Waits
from shmq.workers.calls import Calls
from shmq.workers.chores import Chores, make_chores
from shmq.workers.connection import Limits
from shmq.workers.flights_opening import FlightsOpening
from shmq.workers.ground import Ground
from shmq.workers.letters import (
    FULL_RING_WAIT_MS,
    Inbox,
    Kind,
    Letter,
    unpack_frame,
    unpack_request,
)
from shmq.workers.local_desks import LocalDesks
from shmq.workers.mail import Mail
from shmq.workers.measuring import measure
from shmq.workers.registering import Registering
from shmq.workers.retention import Retention
from shmq.workers.runner import row_alive, wall_ms
from shmq.workers.saving import Saving
from shmq.workers.shared_filters import FilterPublisher
from shmq.workers.sockets import SocketServer
from shmq.workers.upkeep import Upkeep

LETTERS_PER_ROUND: Final = 256
FAREWELL_PATIENCE_MS: Final = 1500
GATHER_MS: Final = 2000
"""How long requests wait at most until every worker has announced its clients."""


class Conductor:
    """The conductor's role (see `workers/role.py`)."""

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths, bell_descriptor: int) -> None:
        self._config = config
        self._memory = memory
        self._paths = paths
        self._log = logs.get("conductor")
        self._bell = memory.bell(plan.BELL_CONDUCTOR)
        self._bell_descriptor = bell_descriptor
        workers = range(memory.plan.workers)
        self._inboxes = [Inbox(memory.bytes_of(f"up/{i}"), memory.place(f"up/{i}")) for i in workers]
        self._mail = Mail.of(config, memory)
        self._calls = Calls(self._mail.push)
        self._desks = LocalDesks(memory, bell_descriptor, self._answer_stranger, self._log)
        self._saving = Saving(paths.config, self._log)
        self._filters = FilterPublisher(config, memory, paths, self._log)
        self._retention = Retention(config, memory, paths, self._tell_trimmed, self._log)
        self._agenda = Agenda()
        self._company = Company()
        self._is_stopping = False
        self._farewell_by_ms = 0
        self._unannounced = set(workers)
        self._gather_by_ms = 0

    def start(self) -> None:
        """Take up the documents and tables, and have the workers announce themselves."""
        config, memory = self._config, self._memory
        own_epoch = int(memory.roster[plan.CONDUCTOR]["epoch"])
        waits = Waits(config.stop_timeout_ms, config.sync_flush_timeout_ms)
        is_sync = config.flush_disk_type == "SYNC_FLUSH"
        self._appender = Appender(memory, memory.plan.conductor_sender, own_epoch, is_sync, waits)
        limits = Limits(config.frame_bytes_max, config.output_bytes_max, 0, config.connection_idle_ms)
        self._server = SocketServer([], limits, self._log)
        self._server.watch(self._bell_descriptor, partial(doorbell.hear, self._bell_descriptor))
        log = LogReader(self._paths.commitlog, config.commit_log_file_bytes)
        self._reader = QueueReader(self._paths.consumequeue, StoreSizes.of(config), memory.queues, log)
        tables = Tables(memory.topic_names, memory.group_names, memory.queues, memory.offsets)
        reader = StoreReader(self._reader)
        self._state = Metadata(config, tables, self._saving.load(), reader, wall_ms())
        self._filters.begin(self._state.filters)
        self._state.measure = partial(measure, memory, self._paths, reader)
        flights = FlightsOpening(self._state.pops, self._paths.flights, self._log)
        flights.begin(is_table_new=own_epoch == 1)
        self._answers = Answers(self._mail, self._state.pops, self._log)
        self._registering = Registering(config, self._server, self._state.announce, self._log)
        self._perform_effects()
        now_ms = wall_ms()
        ground = Ground(memory, self._paths, self._reader)
        self._chores = Chores(
            (flights, *make_chores(self._state, self._appender, ground, self._log)), self._agenda
        )
        self._chores.begin(now_ms)
        self._upkeep = Upkeep(config, self._state, self._agenda, self._company, self._save_now)
        self._upkeep.enter(now_ms)
        self._retention.keep_for(self._chores.needed)
        self._retention.start()
        self._agenda.enter(self._clean, now_ms)
        self._gather_by_ms = now_ms + GATHER_MS
        for inbox in self._inboxes:
            inbox.skip_all()  # whoever sent that will be asked to say it again
        self._mail.say_restarted()
        memory.sessions.note_metadata()  # whatever a predecessor had not come to
        self._desks.start()

    @property
    def is_ready(self) -> bool:
        """Whether every worker has been told everything."""
        return self._mail.is_everybody_told

    def do_work(self, now_ns: int) -> int:  # noqa: ARG002 - its agenda is wall clock
        """Answer letters, then do what is due."""
        now_ms = wall_ms()
        self._server.poll(0, wall_ms)
        gathering = self._is_gathering(now_ms)
        heard = self._unannounced if gathering else range(len(self._inboxes))
        work = sum(self._read_letters(worker, now_ms) for worker in tuple(heard))
        work += self._appender.collect(now_ms)
        work += self._calls.expire(now_ms)
        self._chores.rouse(now_ms)
        done = self._agenda.do_due(now_ms)
        work += 0 if self._is_stopping else done
        work += self._registering.poll(now_ms)
        work += self._desks.poll(now_ms)
        work += self._retention.poll()
        clients = self._state.clients
        is_anybody_there = bool(clients.producers or clients.consumers or self._desks.is_anybody_attached)
        is_anybody_there |= self._chores.is_waiting
        if self._company.came(now_ms, is_anybody_there=is_anybody_there):
            self._upkeep.enter(now_ms)
            self._agenda.enter(self._clean, now_ms + self._config.clean_interval_ms)
        self._perform_effects()
        self._answers.settle()
        self._mail.flush()
        self._appender.flush()
        return work

    def rest(self, timeout_ns: int) -> None:
        """Sleep in epoll: for letters, completions, name servers, or the agenda."""
        doorbell.want(self._bell, doorbell.FLUSHED if self._appender.wants_flush_news else 0)
        doorbell.will_sleep(self._bell)
        now_ms = wall_ms()
        timeout_ms = timeout_ns // 1_000_000
        is_idle = self._appender.is_idle and self._desks.is_idle
        is_idle &= not self._chores.is_roused
        if is_idle and not self._retention.has_news and all(inbox.is_empty for inbox in self._inboxes):
            timeout_ms = self._appender.wait_ms(now_ms, self._agenda.wait_ms(now_ms, timeout_ms))
            timeout_ms = self._saving.wait_ms(now_ms, timeout_ms)
            timeout_ms = self._calls.wait_ms(now_ms, timeout_ms)
            if self._mail.has_backlog:
                timeout_ms = min(timeout_ms, FULL_RING_WAIT_MS)
            timeout_ms = self._desks.wait_ms(now_ms, self._registering.wait_ms(now_ms, timeout_ms))
            self._server.poll(timeout_ms, wall_ms)
        doorbell.is_awake(self._bell)

    def wake(self) -> None:
        """End the wait in epoll."""
        self._server.wake()

    def stop(self) -> None:
        """Unregister; end once the network workers are gone."""
        self._is_stopping = True
        self._chores.stop()
        self._retention.stop()
        now_ms = wall_ms()
        self._registering.say_farewell(now_ms)
        self._farewell_by_ms = now_ms + FAREWELL_PATIENCE_MS

    @property
    def is_done(self) -> bool:
        """Whether nobody is left to serve, and the name servers know that we go."""
        workers = self._memory.roster[plan.FIRST_WORKER :]
        if any(map(row_alive, workers)):  # first: what they say before their end is seen below
            return False
        has_left = self._registering.has_left or wall_ms() >= self._farewell_by_ms
        return has_left and all(inbox.is_empty for inbox in self._inboxes) and not self._appender.in_flight

    def close(self) -> None:
        """Save every document, close every link."""
        self._chores.close()
        self._saving.note(*DocumentName)
        self._save()
        self._state.pops.close()
        self._retention.close()
        self._registering.close()
        self._desks.close()
        self._server.close_all()
        self._reader.close()

    # Letters.

    def _read_letters(self, worker: int, now_ms: int) -> int:
        read = 0
        for letter in self._inboxes[worker].letters(LETTERS_PER_ROUND):
            self._take(worker, letter, now_ms)
            read += 1
            if letter.kind == Kind.ANNOUNCED and self._is_gathering(now_ms):
                break
        return read

    def _is_gathering(self, now_ms: int) -> bool:
        """Whether, after a start, some worker has yet to announce its clients.

        Until then the others' requests wait: an answer would tell of half the clients, and a consumer that
        shares queues by it would take too many.
        """
        return bool(self._unannounced) and now_ms < self._gather_by_ms

    def _take(self, worker: int, letter: Letter, now_ms: int) -> None:
        match letter.kind:
            case Kind.HELLO:
                self._welcome(worker, letter.tag)
            case _ if not self._mail.epoch(worker):
                return  # it was for a predecessor of ours, and will be said again
            case Kind.REQUEST | Kind.ANNOUNCE:
                self._company.hear(now_ms)
                connection, peer, frame = unpack_request(letter.payload)
                channel = self._mail.channel(worker, connection)
                serial = letter.tag if letter.kind == Kind.REQUEST else None
                self._serve(channel, peer, frame, serial, now_ms)
            case Kind.ANNOUNCED:
                self._unannounced.discard(worker)
            case Kind.ASK:
                self._company.hear(now_ms)
                answered = handle_question(self._state, orjson.loads(letter.payload), now_ms)
                self._perform_effects()
                self._answers.give(worker, Kind.ANSWERED, letter.tag, [orjson.dumps(tuple(answered))])
            case Kind.CLOSED:
                channel = self._mail.channel(worker, letter.tag)
                self._mail.forget(channel)
                self._state.close(channel)
                self._perform_effects()
                self._calls.forget(lambda called: called == channel)
            case Kind.RESPONSE:
                self._hear_response(self._mail.channel(worker, letter.tag), unpack_frame(letter.payload))
            case _:
                raise AssertionError(f"no worker sends letters of kind {letter.kind}")

    def _answer_stranger(self, question: bytes) -> bytes:
        """Answer a process that is attached: code, remark, and the count of changes that the answer is true for."""
        answered = answer_stranger(self._state, question, wall_ms())
        self._perform_effects()
        return orjson.dumps((*answered, load_word(self._memory.sessions.metadata_address)))

    def _hear_response(self, channel: Channel, frame: Frame) -> None:
        try:
            answer = decode(frame)
        except PeerError as error:  # the worker has decoded it before
            self._log.error("a forwarded answer cannot be read", reason=str(error))
            return
        if not self._calls.take(channel, answer):
            self._log.debug(
                "a client answered what was not asked, or too late", connection=channel.connection
            )

    def _welcome(self, worker: int, epoch: int) -> None:
        """Tell a new worker everything, and forget the clients of its earlier lives."""
        if epoch != self._mail.epoch(worker):
            self._state.close_worker(worker, epoch)
        self._perform_effects()
        self._mail.welcome(worker, epoch, self._state.snapshot())
        self._calls.forget(lambda channel: channel.worker == worker and channel.epoch != epoch)

    def _serve(self, channel: Channel, peer: Peer, frame: Frame, serial: int | None, now_ms: int) -> None:
        try:
            command = decode(frame)
        except PeerError as error:  # the worker has decoded it before
            self._log.error("a forwarded frame cannot be read", reason=str(error))
            return
        self._mail.note_encoding(channel, command.encoding)
        handler = REQUESTS[command.code].handler
        self._go_on(channel, command, serial, lambda: handler(self._state, command, channel, peer, now_ms))

    def _go_on(
        self, channel: Channel, command: Command, serial: int | None, step: Callable[[], Outcome]
    ) -> None:
        """Take the next step of a request, do what it asks; its effects come before its answer."""
        try:
            outcome = step()
        except RequestError as error:
            outcome = Reply(command.reply(ResponseCode(error.code), error.remark, error.fields))
        except Exception as error:  # noqa: BLE001 - one request must not end the conductor: logged and answered
            self._log.exception("request failed", code=command.code)
            outcome = Reply(command.reply(ResponseCode.SYSTEM_ERROR, f"{type(error).__name__}: {error}"))
        self._perform_effects()
        match outcome:
            case Reply(answer):
                if serial is not None:
                    kind = Kind.NO_ANSWER if command.is_oneway else Kind.ANSWER
                    pieces = [] if command.is_oneway else [encode(answer)]
                    self._answers.give(channel.worker, kind, serial, pieces)
            case Append():
                append = outcome

                def then(appended: Appended) -> None:
                    self._go_on(channel, command, serial, lambda: append.then(appended))

                self._appender.submit(append, then, wall_ms())
            case Call():
                call = outcome

                def go_on(answer: Command | None) -> None:
                    self._go_on(channel, command, serial, lambda: call.then(answer))

                self._calls.begin(call, go_on, wall_ms())
            case Await(subscribe, then_go_on):
                subscribe(lambda: self._go_on(channel, command, serial, then_go_on))
            case Park() | Ask():
                raise AssertionError("control requests neither wait for messages nor ask the conductor")

    # Effects.

    def _perform_effects(self) -> None:
        for effect in self._state.drain():
            self._perform(effect)
        self._save()
        self._filters.publish(self._state.filters, self._saving.is_noted)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Publish(update):
                self._mail.publish(update)
                if not isinstance(update, SubscriptionUpdate | PopFreedUpdate):
                    self._memory.sessions.note_metadata()
            case Push(channel, command):
                self._mail.push(channel, command)
            case Persist(document):
                self._saving.note(document)
            case RegisterTopics(names):
                self._registering.topics_changed(names)
            case Clean(what):
                self._retention.clean(what)
                self._agenda.enter(self._clean, wall_ms() + self._config.clean_interval_ms)
            case CloseChannel(channel):
                self._mail.close(channel, b"no heartbeat for too long")

    def _save(self) -> None:
        """Write the documents that changed."""
        if self._saving.is_noted(DocumentName.CONSUMER_OFFSETS):
            self._answers.settle()  # an offset is saved only where its flights are
        saved = self._saving.save(self._state.document, wall_ms(), at_once=self._is_stopping)
        if DocumentName.TRANSACTIONS in saved:
            self._state.transactions.note_saved()

    def _tell_trimmed(self) -> None:
        """Have the workers and the conductor's own readers let go of files that are gone."""
        trimmed = self._memory.watermarks.trimmed
        self._mail.tell_trimmed(trimmed)
        self._reader.forget_below(trimmed)

    # The agenda.

    def _save_now(self, document: DocumentName) -> None:
        self._saving.note(document)
        self._save()

    def _clean(self, now_ms: int) -> int:  # noqa: ARG002 - every duty is told the time
        was_eager, interval_ms = self._retention.is_eager, self._config.clean_interval_ms
        self._retention.look()
        return interval_ms if was_eager else self._company.pace(interval_ms)
