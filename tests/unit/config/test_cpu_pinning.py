import os

import pytest

from shmq.config.cpu_pinning import is_pinning, pinned_cpus
from shmq.config.setting import SettingError
from shmq.config.settings import Config


@pytest.mark.parametrize("text", ["none", "auto", "spread", "writer=1", "net-0=0,writer=1, dispatcher=1"])
def test_a_pinning_is_a_word_or_pairs(text):
    assert is_pinning(text)


@pytest.mark.parametrize(
    "text", ["", "all", "writer", "writer=", "writer=x", "writer=1;net-0=2", "writer=1,"]
)
def test_anything_else_is_none(text):
    assert not is_pinning(text)


@pytest.mark.parametrize(
    ("workers", "cpus", "pinned"),
    [
        (1, [0], {}),
        (1, [0, 1], {"writer": 1, "dispatcher": 1, "net-0": 0}),
        (2, [4, 5, 6], {"writer": 6, "dispatcher": 5, "net-0": 4, "net-1": 4}),
        (3, [0, 1, 2, 3], {"writer": 3, "dispatcher": 2, "net-0": 0, "net-1": 1, "net-2": 0}),
    ],
)
def test_spread_takes_what_there_is(workers, cpus, pinned):
    assert pinned_cpus("spread", workers, cpus) == pinned


@pytest.mark.parametrize("cpus", [[0], [0, 1, 2], list(range(64))])
def test_auto_leaves_it_to_the_system_with_one_cpu_or_more_than_two(cpus):
    assert pinned_cpus("auto", 2, cpus) == {}


def test_auto_has_those_share_the_second_of_two_who_hand_on_messages():
    assert pinned_cpus("auto", 2, [4, 7]) == {"writer": 7, "dispatcher": 7, "net-0": 7, "net-1": 7}


def test_auto_keeps_nobody_beside_one_who_spins(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert Config().pinned_cpus
    assert not Config().pins_threads
    assert Config(writer_wait_strategy="busy_spin").pinned_cpus == {}
    assert Config(cpu_pinning="spread", wait_strategy="busy_spin").pinned_cpus
    assert Config(cpu_pinning="spread").pins_threads


def test_pairs_are_taken_as_they_are():
    assert pinned_cpus("net-1=0, conductor=3", 2, [0, 3]) == {"net-1": 0, "conductor": 3}
    assert pinned_cpus("none", 2, [0]) == {}


@pytest.mark.parametrize(("text", "complaint"), [("writer=7", "0, 3"), ("net-2=0", "net-0, net-1")])
def test_what_is_not_there_is_refused_with_what_is(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        pinned_cpus(text, 2, [0, 3])


def test_a_config_with_a_cpu_that_is_not_there_is_refused():
    missing = max(os.sched_getaffinity(0)) + 1
    with pytest.raises(SettingError, match="a CPU that this process may use") as refused:
        Config(cpu_pinning=f"writer={missing}")
    assert refused.value.names[0] == "cpu_pinning"


def test_a_wait_strategy_holds_for_all_that_have_none_of_their_own():
    config = Config(wait_strategy="yield", writer_wait_strategy="busy_spin")
    assert config.writer_wait_strategy == "busy_spin"
    assert (config.dispatcher_wait_strategy, config.network_wait_strategy) == ("yield", "yield")
    with pytest.raises(SettingError, match="futex, yield, busy_spin"):
        Config(wait_strategy="doze")
