import os
import signal

import pytest

from shmq.errors import StoreError
from shmq.memory import region
from shmq.memory.words import load_word, store_word
from shmq.shared import broker_memory, plan, roster
from shmq.supervisor.children import EXIT_FAILED, Child, Children, run_once
from shmq.workers.runner import Runner
from tests.support.writer_ground import small_config

ROW = plan.WRITER
MS = 1_000_000
RESTARTING = {
    "restart_delay_ms_min": 100,
    "restart_delay_ms_max": 1000,
    "restarts_max": 3,
    "restart_window_ms": 60_000,
}


class Ground:
    """Children that do what a test says, and a page that they share with it."""

    def __init__(self, root, **settings):
        self.config = small_config(root, log_directory=str(root / "logs"), **(RESTARTING | settings))
        self.memory = broker_memory.create_unnamed(self.config)
        self.page = region.anonymous(4096)
        self.children = Children(self.config, self.memory)

    def add(self, run, name="child", row=ROW):
        child = Child(name, row, run)
        self.children.all.append(child)
        return child

    def spawn(self, run, **which):
        child = self.add(run, **which)
        self.children.spawn(child)
        return child

    def reap(self, now_ns=0, *, restart=True):
        """Wait for a child's end, then collect it."""
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        return self.children.reap(now_ns, restart=restart)

    def write(self, value):
        store_word(self.page.address, value)

    @property
    def written(self):
        return load_word(self.page.address)


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    for child in made.children.running:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)


def forever():
    while True:
        signal.pause()


def test_a_child_lives_its_role_in_a_process_of_its_own(ground):
    def run():
        ground.write(os.getpid())
        return 0

    child = ground.spawn(run)
    pid = child.pid
    assert pid not in (0, os.getpid())
    assert ground.reap(restart=False) == [child]
    assert ground.written == pid
    assert child.pid == 0
    assert not child.has_failed


def test_the_roster_says_who_it_is_and_how_often_it_was_started(ground):
    child = ground.spawn(forever)
    row = ground.memory.roster[ROW]
    assert (int(row["pid"]), int(row["epoch"])) == (child.pid, 1)
    assert roster.is_alive(child.pid, int(row["started"]))
    os.kill(child.pid, signal.SIGKILL)
    ground.reap()
    assert int(row["pid"]) == 0
    ground.children.spawn(child)
    assert (int(row["pid"]), int(row["epoch"])) == (child.pid, 2)


def test_a_child_knows_its_epoch(ground):
    def run():
        ground.write(int(ground.memory.roster[ROW]["epoch"]))
        return 0

    child = ground.spawn(run)
    ground.reap()
    ground.children.spawn(child)
    ground.reap()
    assert ground.written == 2


def test_all_are_ready_when_each_says_so(ground):
    def run():
        store_word(ground.memory.roster_row(ROW) + roster.STATE, roster.READY)
        ground.write(1)
        return forever()

    ground.spawn(run)
    while not ground.written:
        os.sched_yield()
    assert ground.children.are_ready
    other = ground.add(forever, name="other", row=plan.DISPATCHER)
    assert not ground.children.are_ready
    ground.children.all.remove(other)


def test_a_child_that_starts_again_is_not_ready(ground):
    child = ground.spawn(forever)
    store_word(ground.memory.roster_row(ROW) + roster.STATE, roster.READY)
    assert ground.children.are_ready
    os.kill(child.pid, signal.SIGKILL)
    ground.reap()
    ground.children.spawn(child)
    assert not ground.children.are_ready


def test_who_died_is_started_again_when_its_delay_is_over(ground):
    child = ground.spawn(lambda: 7)
    ground.reap(1000 * MS)
    assert child.has_failed
    assert ground.children.next_restart_ns() == 1100 * MS
    ground.children.restart_due(1100 * MS - 1)
    assert child.pid == 0
    ground.children.restart_due(1100 * MS)
    assert child.pid != 0
    assert ground.children.next_restart_ns() == 0


def test_the_delay_doubles_with_each_death_up_to_its_bound(tmp_path):
    ground = Ground(tmp_path, restarts_max=10)
    child = ground.add(lambda: 1)
    delays_ms = []
    for _ in range(6):
        ground.children.spawn(child)
        ground.reap(0)
        delays_ms.append(child.restart_at_ns // MS)
    assert delays_ms == [100, 200, 400, 800, 1000, 1000]


def test_who_dies_too_often_in_too_short_a_time_is_hopeless(ground):
    child = ground.add(lambda: 1)
    for _ in range(3):
        ground.children.spawn(child)
        ground.reap(0)
        assert ground.children.hopeless() is None
    ground.children.spawn(child)
    ground.reap(0)
    assert ground.children.hopeless() is child


def test_deaths_long_ago_do_not_count(ground):
    child = ground.add(lambda: 1)
    for death in range(8):
        ground.children.spawn(child)
        ground.reap(death * 30_000 * MS)
        assert ground.children.hopeless() is None
    assert len(child.deaths_ns) == 3


def test_at_the_end_nobody_is_started_again(ground):
    child = ground.spawn(lambda: 1)
    ground.reap(0, restart=False)
    assert child.has_failed
    assert ground.children.next_restart_ns() == 0
    ground.children.restart_due(10**18)
    assert child.pid == 0


def test_everybody_is_told_and_may_end_in_good_order(ground):
    def run():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        ground.write(1)
        signal.sigwait([signal.SIGTERM])
        return 0

    child = ground.spawn(run)
    while not ground.written:
        os.sched_yield()
    ground.children.tell(signal.SIGTERM)
    ground.reap(restart=False)
    assert not child.has_failed
    assert ground.children.running == []


class Idler:
    """A role without a duty, which ends when it is told to."""

    is_ready = is_done = True

    def start(self):
        return None

    stop = close = wake = start

    def do_work(self, _now_ns):
        return 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_before_a_role_has_begun_is_heeded_by_it(ground, number):
    def run():
        while not ground.written:
            os.sched_yield()
        runner = Runner("child", Idler(), ground.memory.roster_row(ROW))
        runner.start()
        return runner.run()

    child = ground.spawn(run)
    ground.children.tell(number)
    ground.write(1)
    ground.children.tell(signal.SIGTERM)
    ground.reap(restart=False)
    assert not child.has_failed


@pytest.mark.parametrize("error", [StoreError("the disk is full"), ValueError("a mistake"), SystemExit(0)])
def test_a_role_that_raises_ends_as_failed_and_never_comes_back(ground, error):
    def run():
        raise error

    child = ground.spawn(run)
    pid = child.pid
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert found.si_status == EXIT_FAILED
    ground.reap(restart=False)
    assert child.has_failed


def test_a_child_dies_with_its_supervisor(ground):
    """The kernel tells it: also a supervisor killed with -9 leaves nobody behind."""

    def supervise():
        def run():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            ground.write(os.getpid())
            signal.sigwait([signal.SIGTERM])
            os.write(write_end, b"told")
            return 0

        ground.spawn(run)
        signal.pause()

    read_end, write_end = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        supervise()
    while not ground.written:
        os.sched_yield()
    os.kill(supervisor, signal.SIGKILL)
    os.waitpid(supervisor, 0)
    assert os.read(read_end, 4) == b"told"
    os.close(read_end)
    os.close(write_end)


def test_what_is_run_once_says_whether_it_went_well(ground):
    assert run_once("well", ground.config, lambda: ground.write(5))
    assert ground.written == 5

    def fails():
        raise StoreError("no")

    assert not run_once("badly", ground.config, fails)
