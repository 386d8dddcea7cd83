"""Crash laboratory, kills: processes of a broker under load are killed with -9, again and again; then everything is counted.

A store gets settings by chance (small files, both flush types, with and without a transient pool) and lives through some
cycles. In each, producers send to four queues while processes chosen by chance are killed: one, several at once, the
supervisor, or all. Then the broker is stopped in good order, after a recovery where nobody was left to be stopped, and

- `verify_store` finds nothing; before a recovery, nothing but what recovery is certain to mend;
- every acknowledged message lies in the log once, where its answer said, and in the order in which it was sent;
- every queue, read through the broker, has it there as well (at the end of a store's life).

By itself, for as many cycles as you like:

    python -m tests.crash.kills --cycles 200 --seed 1
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from shmq import store as shmq_store
from shmq.inspect.finding import Finding
from shmq.inspect.verify import verify_store
from shmq.store.key_shape import KeyIndexShape
from shmq.store.store_files import StorePaths, StoreSizes
from tests.support.load import Acknowledged, assert_all_there, load_on
from tests.support.processes import assert_gone
from tests.support.shmq_process import ShmqBroker

TOPIC: Final = "crash"
QUEUES: Final = 4
STORE_CYCLES: Final = 10
"""So many cycles a store lives through."""
KIB: Final = 1024
WORKERS: Final = ("writer", "dispatcher", "conductor", "registrar", "net-0")
SUPERVISOR: Final = "supervisor"
ALL: Final = "all"


@dataclass
class Figures:
    """What was done, and seen."""

    cycles: int = 0
    recoveries: int = 0
    acknowledged: int = 0
    stored: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (
            f"{self.cycles} cycles, {sum(self.kills.values())} kills ({kills}), {self.recoveries} recoveries, "
            f"{self.acknowledged} messages acknowledged, 0 lost, 0 doubled, {self.stored} stored"
        )


def settings_by_chance(chance: random.Random) -> dict[str, str | int]:
    """Settings of a broker: files so small that each kind of them rolls while processes die."""
    return {
        "network_workers": chance.choice([1, 2]),
        "commit_log_file_bytes": chance.choice([16, 64, 256, 1024]) * KIB,
        "consume_queue_file_bytes": chance.choice([200, 2000, 20_000]),
        "key_index_slots": chance.choice([20, 300]),
        "key_index_entries": chance.choice([100, 1000]),
        "flush_disk_type": chance.choice(["ASYNC_FLUSH", "SYNC_FLUSH"]),
        "flush_interval_ms": chance.choice([1, 50, 500]),
        "flush_least_pages": chance.choice([0, 4]),
        "consume_queue_flush_interval_ms": chance.choice([1, 100, 1000]),
        "transient_pool": chance.choice(["true", "false"]),
        "transient_pool_buffers": chance.choice([2, 5]),
        "commit_interval_ms": chance.choice([1, 50]),
        "wait_strategy": chance.choice(["futex", "yield"]),
        "restart_delay_ms_min": 1,
        "restart_delay_ms_max": 20,
        "restarts_max": 1000,
        "send_wait_ms_max": 20_000,
    }


class StoreLife:
    """One store, from its first cycle to its last."""

    def __init__(self, directory: Path, chance: random.Random, figures: Figures) -> None:
        self.settings = settings_by_chance(chance)
        self._directory = directory
        self._chance = chance
        self._figures = figures
        self._acknowledged: list[Acknowledged] = []
        self._lives = 0

    @property
    def _is_whole_loss_promised_against(self) -> bool:
        """Whether an answered message must survive the death of all processes: what lies in a pool alone may not."""
        return self.settings["transient_pool"] == "false" or self.settings["flush_disk_type"] == "SYNC_FLUSH"

    def cycle(self) -> None:
        """Start, load, kill, and count."""
        self._figures.cycles += 1
        broker = self._start()
        try:
            if not self._load_and_kill(broker):
                self._check_findings(self._verify(), after="a death of all")
                broker.discard()
                broker = self._start()
                self._figures.recoveries += 1
            broker.stop()
            self._check_findings(self._verify(), after="a clean end")
            self._check_messages()
        finally:
            broker.discard()

    def end(self) -> None:
        """Read every queue through the broker, as a consumer does."""
        broker = self._start()
        try:
            assert_all_there(broker.address, TOPIC, self._acknowledged, QUEUES)
            broker.stop()
        finally:
            broker.discard()

    def _start(self) -> ShmqBroker:
        return ShmqBroker(self._directory, settings=self.settings)

    def _load_and_kill(self, broker: ShmqBroker) -> bool:
        """Kill some while messages come in; return whether the broker is still there."""
        self._lives += 1
        is_alive = True
        with load_on(broker.address, TOPIC, QUEUES, tag=str(self._lives)) as load:
            load.wait_for_more(self._chance.randint(1, 100))
            for _ in range(self._chance.randint(1, 4)):
                is_alive = self._kill(broker, self._victims())
                if not is_alive:
                    break
                load.wait_for_more(self._chance.randint(1, 50))
        self._acknowledged += load.acknowledged
        self._figures.acknowledged += len(load.acknowledged)
        return is_alive

    def _victims(self) -> list[str]:
        kinds = [*WORKERS, *WORKERS, SUPERVISOR]
        if self._is_whole_loss_promised_against:
            kinds += [ALL, ALL, ALL]
        chosen = self._chance.choice(kinds)
        if chosen in {ALL, SUPERVISOR}:
            return [chosen]
        others = [name for name in WORKERS if name != chosen]
        return [chosen, *self._chance.sample(others, self._chance.choice([0, 0, 1, 2]))]

    def _kill(self, broker: ShmqBroker, victims: list[str]) -> bool:
        """Kill these at once; return whether the broker is still there."""
        self._figures.kills.update(victims)
        if victims == [ALL]:
            broker.kill()
            return False
        if victims == [SUPERVISOR]:
            workers = broker.workers()
            broker.process.signal(signal.SIGKILL)
            assert_gone(workers)  # each ends by itself, in good order
            return False
        processes = [broker.worker(name) for name in victims]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=30)
        return True

    def _verify(self) -> Iterator[Finding]:
        paths = StorePaths(self._directory / "store")
        shape = KeyIndexShape(int(self.settings["key_index_slots"]), int(self.settings["key_index_entries"]))
        log_bytes = int(self.settings["commit_log_file_bytes"])
        sizes = StoreSizes(log_bytes, int(self.settings["consume_queue_file_bytes"]), shape)
        return verify_store(paths, sizes)

    def _check_findings(self, findings: Iterable[Finding], after: str) -> None:
        is_mended_later = after != "a clean end"
        found = [each for each in findings if not (is_mended_later and each.is_pending)]
        assert not found, f"after {after} the store has {len(found)} faults: {found[:5]}; {self.settings}"

    def _check_messages(self) -> None:
        """Each acknowledged message is in the log once, where its answer said; and a queue has them in order."""
        places: dict[bytes, list[tuple[int, int, int]]] = {}
        newest: dict[tuple[str, int], int] = {}
        for batch in shmq_store.scan(self._directory / "store", topic=TOPIC):
            for row, each in enumerate(batch.rows):
                body = bytes(batch.body(row))
                places.setdefault(body, []).append(
                    (int(each["queue_id"]), int(each["queue_offset"]), int(each["position"]))
                )
                life, queue, number = body.decode().split("/")
                assert int(queue) == each["queue_id"]
                assert newest.get((life, int(queue)), -1) < int(number), f"{body!r} came out of order"
                newest[life, int(queue)] = int(number)
        doubled = [body for body, found in places.items() if len(found) > 1]
        assert not doubled, f"stored more than once: {doubled[:5]}; {self.settings}"
        for each in self._acknowledged:
            expected = [(each.queue_id, each.queue_offset, each.position)]
            assert places.get(each.body) == expected, (
                f"{each} lies at {places.get(each.body)}; {self.settings}"
            )
        self._figures.stored = max(self._figures.stored, len(places))


def run(root: Path, cycles: int, seed: int, store_cycles: int = STORE_CYCLES) -> Figures:
    """Run so many cycles, below a directory; an assertion says what went wrong, and leaves the store there."""
    chance = random.Random(seed)
    figures = Figures()
    while figures.cycles < cycles:
        directory = root / f"store-{figures.cycles}"
        life = StoreLife(directory, chance, figures)
        for _ in range(min(store_cycles, cycles - figures.cycles)):
            life.cycle()
        life.end()
        shutil.rmtree(directory)
    return figures


def main() -> None:
    """Run by command."""
    parser = argparse.ArgumentParser(
        description="Kill a broker's processes under load, and count its messages."
    )
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        begin_s = time.monotonic()
        figures = run(Path(folder), given.cycles, given.seed)
        print(f"{figures}, in {time.monotonic() - begin_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
