"""The table of roles: which processes a broker has, and how each is made, in the process that will run it.

Every role has a process of its own; the flush thread shares the writer's. A role is made after the fork, so
that its files, threads and random state are its own.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from shmq import logs
from shmq.config.settings import Config
from shmq.naming.routes import BrokerKey
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.store_files import StorePaths, take_duty
from shmq.store.transient_pool import TransientPool
from shmq.workers.commit_writer import CommitWriter
from shmq.workers.conductor import Conductor
from shmq.workers.connection import Limits, Listener
from shmq.workers.dispatcher import Dispatcher
from shmq.workers.network import NetworkWorker
from shmq.workers.registrar import Registrar, RegistrarSettings
from shmq.workers.role import Role
from shmq.workers.runner import Runner, row_alive


@dataclass(frozen=True, slots=True)
class Grounds:
    """What roles are made of: inherited by every fork.

    Attributes:
        config: the settings.
        memory: the shared segment.
        paths: of the store.
        broker_listeners: where clients of the broker come in; all network workers accept there.
        namesrv_listeners: where clients of the embedded name server come in; empty without one.
        pool: locked memory for the writer, if it is to use any.
        eventfds: the descriptor of each bell that sleeps in epoll, by the bell's number.
    """

    config: Config
    memory: BrokerMemory
    paths: StorePaths
    broker_listeners: list[Listener]
    namesrv_listeners: list[Listener]
    eventfds: dict[int, int]
    pool: TransientPool | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A process: its name, its row of the roster, its role."""

    name: str
    row: int
    make: Callable[[Grounds], Role]

    def run(self, grounds: Grounds) -> int:
        """Live as this process; return its exit code."""
        cpu = grounds.config.pinned_cpus.get(self.name)
        with_threads = grounds.config.pins_threads
        if cpu is not None and with_threads:
            os.sched_setaffinity(0, {cpu})  # before any thread of the role's: they stay with it
        take_duty(grounds.paths, self.row)
        runner = Runner(self.name, self.make(grounds), grounds.memory.roster_row(self.row))
        runner.start()
        if cpu is not None and not with_threads:
            os.sched_setaffinity(0, {cpu})  # of this thread alone
        return runner.run()


def placements(grounds: Grounds) -> list[Placement]:
    """The processes of a broker, in the order in which they are started."""
    made = [
        Placement("writer", plan.WRITER, lambda g: CommitWriter(g.config, g.memory, g.paths, g.pool)),
        Placement("dispatcher", plan.DISPATCHER, lambda g: Dispatcher(g.config, g.memory, g.paths)),
    ]
    if grounds.namesrv_listeners:
        made.append(Placement("registrar", plan.REGISTRAR, _registrar))
    made.append(Placement("conductor", plan.CONDUCTOR, _conductor))
    made.extend(
        Placement(f"net-{worker}", plan.FIRST_WORKER + worker, _network(worker))
        for worker in range(grounds.memory.plan.workers)
    )
    return made


def _conductor(grounds: Grounds) -> Role:
    bell = grounds.eventfds[plan.BELL_CONDUCTOR]
    return Conductor(grounds.config, grounds.memory, grounds.paths, bell)


def _registrar(grounds: Grounds) -> Role:
    config = grounds.config
    settings = RegistrarSettings(
        Limits(
            config.frame_bytes_max, config.output_bytes_max, config.connections_max, config.connection_idle_ms
        ),
        config.namesrv_kv_path,
        config.namesrv_scan_interval_ms,
        config.namesrv_broker_expiry_ms,
        BrokerKey(config.cluster_name, config.effective_advertised_address()),
    )
    conductor = grounds.memory.roster[plan.CONDUCTOR]
    log = logs.get("registrar")
    return Registrar(grounds.namesrv_listeners, settings, log, lambda: row_alive(conductor))


def _network(worker: int) -> Callable[[Grounds], Role]:
    def make(grounds: Grounds) -> Role:
        bell = grounds.eventfds[plan.BELL_FIRST_WORKER + worker]
        return NetworkWorker(grounds.config, grounds.memory, worker, grounds.broker_listeners, bell)

    return make
