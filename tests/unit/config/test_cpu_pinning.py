import os

import pytest

from shmq.config.cpu_pinning import is_pinning, pinned_cpus
from shmq.config.setting import SettingError
from shmq.config.settings import Config


@pytest.mark.parametrize("text", ["none", "auto", "writer=1", "net-0=0,writer=1, dispatcher=1"])
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
def test_auto_spreads_over_what_there_is(workers, cpus, pinned):
    assert pinned_cpus("auto", workers, cpus) == pinned


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
