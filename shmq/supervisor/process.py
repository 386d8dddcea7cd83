"""The supervisor: makes the ground, forks the roles, watches them, and takes everything down in order.

Start: lock the store, bind the sockets, compile the kernels, make the shared memory, mark the store open,
recover it in a process of its own, fork the roles, wait until each is ready. Whatever fails leaves nothing
behind that was not there before.

Stop (SIGTERM or SIGINT; a second one kills): every child gets SIGTERM and ends when those that it serves
have ended: network workers first, then the conductor, the writer, the dispatcher. What they leave is
flushed and dispatched, so the checkpoint is written for the last time and the mark of an open store goes.
"""

import os
import signal
import time
from functools import partial
from typing import Final

from shmq import logs
from shmq.config.loading import Loaded
from shmq.config.settings import Config
from shmq.memory import region
from shmq.memory.words import store_word
from shmq.ring import doorbell
from shmq.shared import broker_memory, header, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.commit import STORE_MS
from shmq.store.checkpoint import CheckpointFile, read_checkpoint
from shmq.store.close_mark import write_close_mark
from shmq.store.closed_queues import closed_queues
from shmq.store.recover import Tables, recover
from shmq.store.store_files import (
    StoreLock,
    StorePaths,
    StoreSizes,
    check_layout,
    mark_closed,
    mark_open,
    take_duty,
    was_left_open,
)
from shmq.store.transient_pool import TransientPool
from shmq.supervisor import announcing
from shmq.supervisor.children import Child, Children, run_once
from shmq.supervisor.documents import check_documents
from shmq.supervisor.pace_lines import PaceLines
from shmq.supervisor.signals import STOP_SIGNALS, Signals
from shmq.workers.connection import Listener
from shmq.workers.listening import allow_many_descriptors, listen_on
from shmq.workers.placement import Grounds, placements

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
TICK_SECONDS: Final = 0.1


def clean(config: Config) -> int:  # noqa: ARG001 - leftovers of every broker name are removed
    """Remove the shared memory of brokers that are gone."""
    for name in broker_memory.leftovers():
        region.unlink(name)
        print(f"removed {name}")  # noqa: T201 - the command's answer
    return EXIT_OK


def serve(loaded: Loaded) -> int:
    """Run a broker until it is told to stop; return the exit code."""
    config = loaded.config
    logs.start("supervisor", config.log_directory, config.log_level, config.log_format)
    log = logs.get("supervisor")
    for warning in loaded.warnings:
        log.warning(warning)
    for note in loaded.notes:
        log.info(note)
    if config.console_listens:
        log.warning(
            "the console is not built yet: nothing listens there", console_listen=config.console_listen
        )
    started_ns = time.monotonic_ns()
    allow_many_descriptors()
    paths = StorePaths.of(config)
    check_layout(paths)
    lock = StoreLock(paths)
    try:
        lock.wait_for_heirs(lambda pid: log.warning("waiting for a dead supervisor's children", pid=pid))
        listeners = _listeners(config)
        namesrv = [Listener(listen_on(config.namesrv_listen))] if config.namesrv_listens else []
        announcing.compile_all(config)
        signals = Signals()  # from here on there is something to tidy up
        memory = broker_memory.create(config, time.time_ns())
        try:
            pool = None
            if config.transient_pool:
                pool = TransientPool(config.transient_pool_buffers, config.commit_log_file_bytes)
            grounds = Grounds(config, memory, paths, listeners, namesrv, _make_bells(memory), pool)
            return Supervisor(grounds, signals, started_ns).run()
        finally:
            region.unlink(memory.name)
    finally:
        lock.release()


class Supervisor:
    """Watches the processes of one broker."""

    def __init__(self, grounds: Grounds, signals: Signals, started_ns: int) -> None:
        self._grounds = grounds
        self._config = grounds.config
        self._memory = grounds.memory
        self._started_ns = started_ns
        self._log = logs.get("supervisor")
        self._children = Children(grounds.config, grounds.memory)
        self._signals = signals
        self._is_announced = False
        self._early_stops = 0
        self._recover_by_ns = 0

    def run(self) -> int:
        """Recover the store, run the roles, stop."""
        paths = self._grounds.paths
        was_clean = not was_left_open(paths)
        if not run_once("recovery", self._config, lambda: self._recover(was_clean), self._must_recovery_end):
            self._log.error("the store could not be opened; nothing was started")
            return EXIT_FAILED
        mark_open(paths)  # as recovery has, but now by this process, which has the store open
        if self._early_stops:
            return self._close_store()
        for placement in placements(self._grounds):
            child = Child(placement.name, placement.row, partial(placement.run, self._grounds))
            self._children.all.append(child)
            self._children.spawn(child)
        self._memory.state = header.RUNNING
        code = self._watch()
        return self._stop() or code

    def _must_recovery_end(self) -> bool:
        """Sleep a while; whether recovery is to be killed: told to stop twice, or once and long ago."""
        self._signals.wait(TICK_SECONDS)
        now_ns = time.monotonic_ns()
        if self._take_stop_signal():
            self._early_stops += 1
            self._recover_by_ns = now_ns + self._config.stop_timeout_ms * 1_000_000
        return self._early_stops > 1 or (self._early_stops == 1 and now_ns >= self._recover_by_ns)

    def _recover(self, was_clean: bool) -> None:
        memory, config = self._memory, self._config
        log = logs.get("recovery")
        take_duty(self._grounds.paths, plan.SUPERVISOR)
        check_documents(config, self._grounds.paths)
        recovered = recover(
            self._grounds.paths,
            StoreSizes.of(config),
            Tables(memory.topic_names, memory.queues, config.delay_levels_ms),
            clean_exit=was_clean,
            now_ms=time.time_ns() // 1_000_000,
            progress=log.info,
            pace=PaceLines(log.info, time.monotonic_ns).tell,
        )
        for path in recovered.set_aside:
            log.error("records that could not stay were copied aside", path=str(path))
        memory.watermarks.begin(
            recovered.trimmed, recovered.end, recovered.store_ms, recovered.indexed, recovered.full_keys_ms
        )
        store_word(memory.place("writer") + STORE_MS, recovered.store_ms)  # store times never go back

    def _watch(self) -> int:
        """Until a signal says stop, or a child dies again and again."""
        while True:
            self._wait()
            now_ns = time.monotonic_ns()
            if self._take_stop_signal():
                return EXIT_OK
            self._children.reap(now_ns, restart=True)
            hopeless = self._children.hopeless()
            if hopeless is not None:
                self._log.critical("a process dies again and again; giving up", name=hopeless.name)
                return EXIT_FAILED
            self._children.restart_due(now_ns)
            if not self._is_announced and self._children.are_ready:
                self._is_announced = True
                elapsed_ms = (now_ns - self._started_ns) // 1_000_000
                announcing.announce(self._config, self._children.running, elapsed_ms)

    def _stop(self) -> int:
        """End all children in good order; return 0 if the store was left whole and closed."""
        self._log.info("stopping")
        announcing.withdraw(self._config)
        self._memory.state = header.STOPPING
        self._children.restart_waiting()  # while there are listeners for them to take over
        for listener in (*self._grounds.broker_listeners, *self._grounds.namesrv_listeners):
            listener.socket.close()
        self._children.tell(signal.SIGTERM)
        deadline_ns = time.monotonic_ns() + self._config.stop_timeout_ms * 1_000_000
        while self._children.running:
            self._wait()
            self._children.tell(signal.SIGTERM)  # one that came just before a rest is heeded only behind it
            if self._children.reap(time.monotonic_ns(), restart=False):
                self._ring_all()  # who waited for them to end may go on
            forced = self._take_stop_signal()
            if forced or time.monotonic_ns() >= deadline_ns:
                self._log.error("killing what has not ended", names=[c.name for c in self._children.running])
                self._children.tell(signal.SIGKILL)
        return self._close_store()

    def _close_store(self) -> int:
        marks = self._memory.watermarks
        is_whole = marks.wrote <= marks.appended == marks.flushed == marks.dispatched
        if not is_whole or any(child.has_failed for child in self._children.all):
            self._log.warning("stopped, but not cleanly: the next start checks the store")
            return EXIT_FAILED
        paths = self._grounds.paths
        checkpoint = CheckpointFile(paths.checkpoint)
        announcing.note_clean_end(checkpoint, read_checkpoint(paths.checkpoint), marks)
        checkpoint.close()
        closed = closed_queues(self._memory.topic_names, self._memory.queues, paths.consumequeue)
        write_close_mark(paths.queues_checkpoint, marks.trimmed, closed)
        mark_closed(paths)
        self._log.info("stopped")
        return EXIT_OK

    def _ring_all(self) -> None:
        for number in range(plan.BELL_FIRST_WORKER + self._memory.plan.workers):
            doorbell.ring_bell(self._memory.bell(number))

    def _wait(self) -> None:
        """Sleep until a signal, a restart that is due, or a tick while not all are ready."""
        timeout = None if self._is_announced else TICK_SECONDS
        due_ns = self._children.next_restart_ns()
        if due_ns or self._memory.state == header.STOPPING:
            timeout = TICK_SECONDS
        self._signals.wait(timeout)

    def _take_stop_signal(self) -> bool:
        """Act on the signals that came; whether one of them asks to stop."""
        came = self._signals.take()
        if signal.SIGHUP in came:
            logs.reopen()
            self._children.tell(signal.SIGHUP)
        return not STOP_SIGNALS.isdisjoint(came)


def _listeners(config: Config) -> list[Listener]:
    """Bind the broker's sockets before anything else is done: a taken port is an error at once."""
    bound = [Listener(listen_on(config.listen))]
    if config.vip_listen_enable:
        bound.append(Listener(listen_on(config.vip_listen), is_vip=True))
    return bound


def _make_bells(memory: BrokerMemory) -> dict[int, int]:
    """Set up every role's bell; return the eventfds of those that sleep in epoll."""
    eventfds: dict[int, int] = {}
    for number in range(plan.BELL_FIRST_WORKER + memory.plan.workers):
        descriptor = doorbell.NONE
        if number >= plan.BELL_CONDUCTOR and number != plan.BELL_LOCAL:
            descriptor = eventfds[number] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        doorbell.initialise(memory.bell(number), descriptor)
    return eventfds
