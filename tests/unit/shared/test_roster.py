import os

import numpy as np

from shmq.shared import roster


def test_this_process_is_alive_as_itself_and_as_no_other():
    pid, started = roster.own_identity()
    assert pid == os.getpid()
    assert roster.is_alive(pid, started)
    assert not roster.is_alive(pid, started + 1)
    assert not roster.is_alive(0, started)


def test_a_dead_process_is_dead_before_and_after_it_is_reaped():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert roster.start_time_of(pid) == 0
    assert not roster.is_alive(pid, 0)
    os.waitpid(pid, 0)
    assert roster.start_time_of(pid) == 0
    assert not roster.is_alive(pid, 0)


def test_a_row_names_the_process_that_was_forked():
    rows = np.zeros(2, dtype=roster.LAYOUT)
    roster.note_start(rows[1], os.getpid())
    assert (int(rows[1]["pid"]), int(rows[1]["started"])) == roster.own_identity()
    assert not rows[:1].tobytes().strip(b"\0")


def test_the_supervisors_and_the_processes_words_share_no_line():
    written_by_supervisor = [roster.LAYOUT.fields[name][1] for name in ("pid", "started", "epoch")]
    written_by_process = [roster.LAYOUT.fields[name][1] for name in ("state", "beat_ns", "counters")]
    assert max(written_by_supervisor) < 128 <= min(written_by_process)
