"""The lines that tell how far a long step has come."""

from shmq.supervisor.pace_lines import PaceLines

SECOND_NS = 1_000_000_000
GIB = 1 << 30


class Teller:
    def __init__(self) -> None:
        self.now_ns = 5 * SECOND_NS
        self.said: list[str] = []
        self.lines = PaceLines(self.said.append, lambda: self.now_ns)

    def at(self, second: float, done: int, what: str = "checking the log", unit: str = "bytes") -> None:
        self.now_ns = int((5 + second) * SECOND_NS)
        self.lines.tell(what, done, 20 * GIB if unit == "bytes" else 50_000, unit)


def test_what_is_done_within_a_second_says_nothing() -> None:
    teller = Teller()
    for tenth in range(10):
        teller.at(tenth / 10, tenth * 2 * GIB)
    assert teller.said == []


def test_a_line_tells_percent_rate_and_time_left() -> None:
    teller = Teller()
    teller.at(0, 0)
    teller.at(2, GIB)
    assert teller.said == ["checking the log: 5 % (1.0 of 20.0 GiB, 512 MiB/s, about 38 s left)"]


def test_there_is_a_line_every_two_seconds_however_often_it_is_told() -> None:
    teller = Teller()
    for tenth in range(100):
        teller.at(tenth / 10, tenth * GIB // 10)
    assert len(teller.said) == 5
    assert [line.split(":")[1].split("%")[0].strip() for line in teller.said] == ["5", "15", "25", "35", "45"]


def test_another_step_is_quiet_again_at_first_and_has_a_rate_of_its_own() -> None:
    teller = Teller()
    teller.at(0, 0)
    teller.at(9, 19 * GIB)
    teller.at(10, 1, "looking at the queues", "queues")
    teller.at(10.9, 20_000, "looking at the queues", "queues")
    teller.at(12, 40_001, "looking at the queues", "queues")
    assert teller.said[1:] == ["looking at the queues: 80 % (40001 of 50000 queues, 20000/s, about 0 s left)"]


def test_a_step_that_begins_again_begins_a_new_rate() -> None:
    teller = Teller()
    teller.at(0, GIB)
    teller.at(5, 2 * GIB)
    teller.at(6, 0)
    teller.at(8, 4 * GIB)
    assert teller.said[-1].startswith("checking the log: 20 % (4.0 of 20.0 GiB, 2048 MiB/s")


def test_more_than_was_expected_is_all_of_it() -> None:
    teller = Teller()
    teller.at(0, 0)
    teller.at(2, 30 * GIB)
    assert teller.said == ["checking the log: 100 % (30.0 of 30.0 GiB, 15360 MiB/s, about 0 s left)"]
    teller.at(4, 0, "another")
    teller.at(6, 0, "another")
    assert teller.said[-1] == "another: 0 % (0.0 of 20.0 GiB, 0 MiB/s)"
