from perf import comparison


def test_ratios_are_taken_within_a_round(turn):
    rounds = [
        turn(10, number=0),
        turn(5, number=0, contestant="peer"),
        turn(30, number=1),
        turn(3, number=1, contestant="peer"),
    ]
    assert comparison.ratios(rounds, "messages/s", "peer") == [2.0, 10.0]


def test_a_round_without_the_peer_has_no_ratio(turn):
    assert comparison.ratios([turn(), turn(number=1, contestant="peer")], "messages/s", "peer") == []


def test_the_newest_run_of_each_workload_counts(turn):
    old, new, other = turn(run="1"), turn(run="2"), turn(run="1", workload="pull")
    assert comparison.newest([old, new, other], quick=False) == [new, other]


def test_a_run_that_only_tried_does_not_count(turn):
    real, tried = turn(run="1"), turn(run="2", is_quick=True)
    assert comparison.newest([real, tried], quick=False) == [real]
    assert comparison.newest([real, tried], quick=True) == [tried]


def test_rounds_are_told_apart_by_how_near_the_cores_were(turn):
    near, far = turn(), turn(ping_pong_class="XX")
    assert comparison.of_class([near, far], "XX") == [far]


def test_a_spread_is_median_least_and_most(turn):
    assert comparison.spread([3, 1, 9]) == (3, 1, 9)
    assert comparison.values([turn(7), turn(1, contestant="peer")], "messages/s") == [7]
