"""When the writer counts as busy."""

import pytest

from shmq.broker.outcome import Append
from shmq.ring import spsc
from shmq.shared import roster
from shmq.shared.plan import WRITER
from shmq.workers.appending import Appender, Waits
from shmq.workers.busy import Busy
from tests.support.writer_ground import WriterGround, message
from tests.support.writer_lives import NOW_MS, BareWriter

LIMIT_MS = 1000


class Watched:
    """A sender's ring, what it holds, and who looks at it."""

    def __init__(self, root):
        self.ground = WriterGround(root, commit_log_file_bytes=1 << 20)
        self.writer = BareWriter(self.ground)
        memory = self.ground.memory
        self.appender = Appender(memory, 0, 1, False, Waits(200, 5000))
        self.row = memory.roster[WRITER]
        self.row["pid"], self.row["started"] = roster.own_identity()
        self.row["state"], self.row["epoch"] = roster.READY, 1
        self.ring = memory.place("submit/0")
        self.busy = Busy(self.ring, self.row, LIMIT_MS)

    def submit(self):
        record = message(body=b"one")
        slot = self.ground.slot((record.topic, record.queue_id))
        self.appender.submit(Append(slot, (record,), False, lambda _: None), lambda _: None, NOW_MS)


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_a_writer_that_takes_nothing_for_too_long_is_busy_until_it_moves(watched):
    watched.submit()
    assert not watched.busy.look(NOW_MS)
    assert not watched.busy.look(NOW_MS + LIMIT_MS - 1)
    assert watched.busy.look(NOW_MS + LIMIT_MS)
    watched.submit()
    assert watched.busy.look(NOW_MS + LIMIT_MS + 1)
    watched.writer.turn()
    assert spsc.is_empty(watched.ring)
    assert not watched.busy.look(NOW_MS + LIMIT_MS + 2)


def test_an_idle_writer_is_not_busy(watched):
    assert not watched.busy.look(NOW_MS)
    assert not watched.busy.look(NOW_MS + 10 * LIMIT_MS)
    watched.submit()
    assert not watched.busy.look(NOW_MS + 10 * LIMIT_MS + 1)


@pytest.mark.parametrize("change", [{"state": roster.STARTING}, {"pid": 0}])
def test_a_writer_that_is_dead_or_starts_is_waited_for(watched, change):
    watched.submit()
    assert not watched.busy.look(NOW_MS)
    for field, value in change.items():
        watched.row[field] = value
    assert not watched.busy.look(NOW_MS + LIMIT_MS)


def test_a_new_writer_has_its_own_time(watched):
    watched.submit()
    assert not watched.busy.look(NOW_MS)
    assert watched.busy.look(NOW_MS + LIMIT_MS)
    watched.row["epoch"] = 2
    assert not watched.busy.look(NOW_MS + LIMIT_MS + 1)
    assert watched.busy.look(NOW_MS + 2 * LIMIT_MS + 1)


def test_who_waits_for_the_writer_looks_now_and_then(watched):
    assert watched.busy.wait_ms(60_000) == 60_000
    watched.submit()
    assert watched.busy.wait_ms(60_000) == LIMIT_MS // 4
