from dataclasses import dataclass, fields

import pytest

from shmq.config.setting import (
    addresses,
    allowed_words,
    between,
    host_or_address,
    one_of,
    power_of_two,
    setting,
    setting_of,
    unit_of,
)


@dataclass(frozen=True)
class _Example:
    wait_ms: int = setting(5, "How long.", java="waitTime waitMillis", allowed=between(1, 10))
    ring_bytes: int = setting(64, "How large.", allowed=power_of_two(64, 1024))
    name: str = setting(lambda: "found", "Who.", shown="what is found")
    enabled: bool = setting(True, "Whether.")


_BY_NAME = {declared.name: declared for declared in fields(_Example)}


def test_a_setting_carries_its_text_and_java_keys():
    wait = setting_of(_BY_NAME["wait_ms"])
    assert wait.doc == "How long."
    assert wait.java == ("waitTime", "waitMillis")


def test_a_default_may_be_found_on_the_machine():
    assert _Example().name == "found"
    assert setting_of(_BY_NAME["name"]).shown == "what is found"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("flush_interval_ms", "ms"),
        ("restart_delay_ms_min", "ms"),
        ("submit_ring_bytes", "bytes"),
        ("transfer_bytes_in_memory_max", "bytes"),
        ("in_memory_ratio_percent", "percent"),
        ("topics_max", ""),
        ("broker_name", ""),
    ],
)
def test_the_unit_is_the_one_in_the_name(name, unit):
    assert unit_of(name) == unit


def test_words_for_what_is_allowed_say_how_to_write_it():
    assert allowed_words(_BY_NAME["wait_ms"]) == "a duration such as 500ms or 5s, from 1 to 10"
    assert (
        allowed_words(_BY_NAME["ring_bytes"])
        == "a size such as 65536 or 64KiB, a power of two from 64 to 1024"
    )
    assert allowed_words(_BY_NAME["enabled"]) == "true or false"


def test_rules_hold_at_their_bounds_and_not_beyond():
    assert [between(1, 3).holds(value) for value in (0, 1, 3, 4)] == [False, True, True, False]
    assert [power_of_two(4, 16).holds(value) for value in (2, 4, 6, 16, 32)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert [one_of("A", "B").holds(value) for value in ("A", "B", "a")] == [True, True, False]
    assert [host_or_address().holds(value) for value in ("", "h", "h:1", "h:0")] == [True, True, True, False]
    assert [addresses(";").holds(value) for value in ((), ("a:1", "b:2"), ("a",))] == [True, True, False]
