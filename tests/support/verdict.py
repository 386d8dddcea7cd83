"""What must be true of what a driver counted. Each check names what is wrong, not only that something is."""

from collections.abc import Iterable, Mapping
from typing import Any


def assert_all_sent(result: Mapping[str, Any], count: int) -> None:
    """Every send was acknowledged, and no two at one place of a queue."""
    assert result["failure_count"] == 0, result["failures"]
    assert result["sent"] == count
    assert result["offsets_doubled"] == 0
    acknowledged = sum(queue["distinct"] for queue in result["queues"].values())
    assert acknowledged == count


def assert_received_once(result: Mapping[str, Any], seen: set[int], expected: Iterable[int]) -> None:
    """Each message came, once, as it was sent and in the order promised."""
    assert_received_intact(result)
    assert_none_missing(seen, expected)
    assert result["doubled"] == []


def assert_received_intact(result: Mapping[str, Any]) -> None:
    """What came was as it was sent, in the order promised."""
    assert result["fault_count"] == 0, result["faults"]
    assert result["inversions"] == 0


def assert_none_missing(seen: set[int], expected: Iterable[int]) -> None:
    """Exactly the expected messages came."""
    wanted = set(expected)
    missing, strangers = sorted(wanted - seen), sorted(seen - wanted)
    assert not missing, f"{len(missing)} missing, the first: {missing[:20]}"
    assert not strangers, f"{len(strangers)} never asked for, the first: {strangers[:20]}"


def assert_offsets_without_gap(result: Mapping[str, Any]) -> None:
    """In each queue the delivered messages lie at 0, 1, 2 and so on."""
    for name, queue in result["queues"].items():
        assert queue["first"] == 0, (name, queue)
        assert queue["last"] == queue["distinct"] - 1, (name, queue)


def assert_bounds(bounds: Mapping[str, Mapping[str, int]], count: int, *, committed: bool) -> None:
    """The topic's queues hold that many messages, and the group has committed all of them where that is said."""
    assert sum(queue["max"] - queue["min"] for queue in bounds.values()) == count, bounds
    for name, queue in bounds.items():
        assert queue["found_at_0"] == queue["min"], (name, queue)
        if committed and queue["max"] > 0:
            assert queue["committed"] == queue["max"], (name, queue)
