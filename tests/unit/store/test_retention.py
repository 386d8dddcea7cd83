"""What goes, when, and when messages are refused: every row of the table, and the order between them."""

from dataclasses import replace

import pytest

from shmq.config.settings import Config
from shmq.store.position import NONE
from shmq.store.retention import Decision, Disks, LogFile, Rules, Situation, decide, needed_from

FILE = 1000
HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
DAY_OLD = NOW_MS - 24 * HOUR_MS
OLD = NOW_MS - 72 * HOUR_MS
RULES = Rules.of(Config())
CALM = Situation(
    files=[LogFile(FILE * number, OLD) for number in range(4)],
    file_bytes=FILE,
    trimmed=0,
    needed=3 * FILE + 500,
    disks=Disks(50, 50),
    was_full=False,
    now_ms=NOW_MS,
    hour=12,
    is_asked=False,
)
HALF_OLD = [LogFile(0, OLD), LogFile(FILE, OLD), LogFile(2 * FILE, DAY_OLD), LogFile(3 * FILE, OLD)]


def decided(rules=RULES, **changes):
    return decide(rules, replace(CALM, **changes))


def test_the_rules_are_rocketmqs_by_default():
    assert Rules(72 * HOUR_MS, frozenset({4}), 75, 85, 90, may_force=True, batch_max=10) == RULES


def test_percentages_outside_rocketmqs_bounds_count_as_the_nearest():
    rules = Rules.of(Config(disk_reclaim_percent=0, disk_force_percent=0, disk_refuse_percent=0))
    assert (rules.reclaim_percent, rules.force_percent, rules.refuse_percent) == (10, 30, 35)
    rules = Rules.of(Config(disk_reclaim_percent=100, disk_force_percent=100, disk_refuse_percent=100))
    assert (rules.reclaim_percent, rules.force_percent, rules.refuse_percent) == (95, 85, 90)


def test_nothing_goes_without_a_reason():
    assert decided() == Decision(0, is_full=False, triggers=())


@pytest.mark.parametrize(
    ("changes", "trigger"),
    [
        ({"hour": 4}, "time"),
        ({"disks": Disks(76, 50)}, "space"),
        ({"disks": Disks(50, 76)}, "space"),
        ({"is_asked": True}, "manual"),
    ],
)
def test_expired_files_go_and_no_others(changes, trigger):
    assert decided(**changes) == Decision(3 * FILE, is_full=False, triggers=(trigger,))
    assert decided(files=HALF_OLD, **changes).trim_to == 2 * FILE
    assert decided(files=[LogFile(0, DAY_OLD), *CALM.files[1:]], **changes).trim_to == 0


def test_a_file_expires_to_the_millisecond():
    assert decided(files=[LogFile(0, OLD + 1)], is_asked=True).trim_to == 0
    assert decided(files=[LogFile(0, OLD)], is_asked=True).trim_to == FILE


def test_each_of_several_hours_counts():
    rules = replace(RULES, hours=frozenset({2, 22}))
    assert [hour for hour in range(24) if decided(rules, hour=hour).triggers] == [2, 22]
    assert not decided(replace(RULES, hours=frozenset()), hour=4).triggers


@pytest.mark.parametrize("disks", [Disks(86, 10), Disks(10, 86), Disks(91, 10), Disks(10, 100)])
def test_the_oldest_go_whatever_their_age_where_room_is_short(disks):
    young = [file._replace(modified_ms=NOW_MS) for file in CALM.files]
    assert decided(files=young, disks=disks).trim_to == 3 * FILE
    assert decided(files=young, disks=disks).triggers == ("space", "forced")
    calm = replace(RULES, may_force=False)
    assert decided(calm, files=young, disks=disks).trim_to == 0
    assert decided(calm, files=HALF_OLD, disks=disks).trim_to == 2 * FILE


def test_force_begins_above_its_percentage():
    assert decided(disks=Disks(85, 85)).triggers == ("space",)
    assert decided(disks=Disks(75, 75)).triggers == ()


def test_a_look_takes_some_files_at_most():
    files = [LogFile(FILE * number, OLD) for number in range(30)]
    many = {"files": files, "needed": 29 * FILE + 1, "is_asked": True}
    assert decided(**many).trim_to == 10 * FILE
    assert decided(**many, trimmed=10 * FILE).trim_to == 20 * FILE
    assert decided(replace(RULES, batch_max=1), **many).trim_to == FILE


@pytest.mark.parametrize("disks", [Disks(50, 50), Disks(99, 99)])
@pytest.mark.parametrize(
    ("needed", "trim_to"), [(3 * FILE, 3 * FILE), (3 * FILE - 1, 2 * FILE), (FILE - 1, 0), (0, 0), (-1, 0)]
)
def test_what_somebody_needs_stays_whatever_the_reason(disks, needed, trim_to):
    assert decided(disks=disks, needed=needed, is_asked=True).trim_to == trim_to


def test_files_that_are_being_deleted_count_no_more():
    assert decided(trimmed=2 * FILE, is_asked=True).trim_to == 3 * FILE
    assert decided(replace(RULES, batch_max=1), trimmed=FILE, is_asked=True).trim_to == 2 * FILE
    assert decided(trimmed=2 * FILE, files=HALF_OLD, is_asked=True).trim_to == 2 * FILE
    assert decided(trimmed=3 * FILE).trim_to == 3 * FILE


def test_an_empty_log_is_left_alone():
    assert decided(files=[], needed=needed_from(0, 0, 0, 0), is_asked=True).trim_to == 0


def test_messages_are_refused_above_one_percentage_until_below_another():
    is_full = False
    seen = []
    for percent in (90, 91, 90, 86, 85, 86, 90, 91, 85):
        is_full = decided(disks=Disks(percent, 10), was_full=is_full).is_full
        seen.append(is_full)
    assert seen == [False, True, True, True, False, False, False, True, False]


def test_both_disks_must_have_room_again():
    assert decided(disks=Disks(50, 91)).is_full
    assert decided(disks=Disks(50, 86), was_full=True).is_full
    assert decided(disks=Disks(86, 50), was_full=True).is_full
    assert not decided(disks=Disks(85, 85), was_full=True).is_full


def test_a_disk_that_nobody_can_measure_changes_nothing():
    for was_full in (False, True):
        assert decided(disks=Disks(NONE, NONE), was_full=was_full) == Decision(0, was_full, ())
    assert decided(disks=Disks(NONE, 91)).is_full


def test_the_log_is_needed_from_where_the_slowest_stands():
    assert needed_from(flushed=4, dispatched=5, indexed=6, appended=10) == 4
    assert needed_from(flushed=10, dispatched=3, indexed=6, appended=10) == 3
    assert needed_from(flushed=10, dispatched=10, indexed=2, appended=10) == 2
    assert needed_from(flushed=10, dispatched=10, indexed=10, appended=10) == 9
