"""A file of popped messages that cannot be opened keeps nobody from anything but popping."""

import pytest
import structlog

from shmq.broker.pop.flights import FlightStoreError, Key
from shmq.workers.flights_opening import AGAIN_MS, QUIET_MS, FlightsOpening, UnopenedFlightStore

KEY = Key("group", "topic", 0)


class Pops:
    """What is opened for: it keeps the store that it was given last."""

    def __init__(self):
        self.store = None
        self.told = None

    def use(self, store, *, is_table_new, was_closed):
        self.store = store
        self.told = is_table_new, was_closed


@pytest.fixture
def pops():
    made = Pops()
    yield made
    made.store.close()


def test_a_file_that_can_be_opened_is(tmp_path, pops):
    opening = FlightsOpening(pops, tmp_path / "pop" / "pop.db", structlog.get_logger())
    opening.begin(is_table_new=True)
    assert pops.told == (True, True)
    assert pops.store.cursors() == []
    assert opening.look(0) == QUIET_MS


def test_one_that_cannot_be_is_tried_again_until_it_can_be(tmp_path, pops):
    (tmp_path / "pop").write_bytes(b"a directory should be here")
    opening = FlightsOpening(pops, tmp_path / "pop" / "pop.db", structlog.get_logger())
    opening.begin(is_table_new=True)
    assert isinstance(pops.store, UnopenedFlightStore)
    assert pops.store.due(0, 10) == []
    assert pops.store.next_due_ms() is None
    with pytest.raises(FlightStoreError, match="cannot be kept"):
        pops.store.cursor(KEY)
    assert opening.look(0) == AGAIN_MS
    (tmp_path / "pop").unlink()
    assert opening.look(0) == QUIET_MS
    assert pops.told == (False, True)  # offsets may have been committed since
    assert pops.store.cursor(KEY) is None
