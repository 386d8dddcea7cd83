import dataclasses

import pytest

from perf.targets import Criterion, Verdict, missing, verdicts


@pytest.fixture
def rounds(turn):
    """Two rounds of a workload that speaks for P2, shmq against two peers."""
    return [
        turn(rate, target="P2", number=number, contestant=contestant)
        for number, rates in enumerate([(20, 10, 4), (30, 10, 5)])
        for contestant, rate in zip(("shmq", "Redis Streams", "RocketMQ (Java)"), rates, strict=True)
    ]


def test_a_ratio_is_judged_by_the_median_of_the_rounds(rounds):
    found = {each.criterion.peer: each for each in verdicts(rounds)}
    assert found["Redis Streams"].found == [2.0, 3.0]
    assert found["RocketMQ (Java)"].found == [5.0, 6.0]
    assert all(each.is_met for each in found.values())


def test_a_bound_that_is_not_kept_is_not_met(rounds):
    slower = [
        dataclasses.replace(each, figures={"messages/s": 10.0}) if each.contestant == "shmq" else each
        for each in rounds
    ]
    assert not next(each for each in verdicts(slower) if each.criterion.peer == "Redis Streams").is_met


def test_rounds_are_counted_by_how_near_the_cores_were(rounds):
    mixed = [dataclasses.replace(each, ping_pong_class="XX") if each.number else each for each in rounds]
    redis = next(each for each in verdicts(mixed) if each.criterion.peer == "Redis Streams")
    assert redis.classes == {"NN": (2.0, 1), "XX": (3.0, 1)}


def test_what_nobody_measured_is_missing(rounds):
    left = {(each.target, each.measure) for each in missing(rounds)}
    assert ("P2", "messages/s") not in left
    assert ("P2", "CPU s/million messages") in left


def test_a_bound_from_above_is_met_from_below():
    least = Verdict(Criterion("P9", "x", most=1.5), "w", [1.4], {}, "")
    assert (least.is_met, Verdict(Criterion("P9", "x", most=1.5), "w", [1.6], {}, "").is_met) == (True, False)
