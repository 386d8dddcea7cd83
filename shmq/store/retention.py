"""What may be deleted of a log, and whether its disk is too full to be written: decisions, without clock or disk.

    trigger  condition                                         deletes
    -------  ------------------------------------------------  ---------------------------------
    time     the hour is one of those set, all through it      expired files
    space    a disk is fuller than `reclaim_percent`           expired files
    forced   a disk is fuller than `force_percent`             the oldest files, whatever age,
                                                               if that is allowed
    full     a disk is fuller than `refuse_percent`            as forced, and messages are refused
    manual   an administrator's request, some looks long       expired files

Messages are refused until no disk is fuller than `force_percent`. A file is expired when it was written last so and so
long ago. Files go from the oldest on, up to the first that is not expired, some in one look; the file that the log
ends in stays, and all that somebody still needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from shmq.config.settings import Config
from shmq.config.units import HOUR_MS
from shmq.store.position import NONE

RECLAIM_BOUNDS: Final = (10, 95)
FORCE_BOUNDS: Final = (30, 85)
REFUSE_BOUNDS: Final = (35, 90)
"""RocketMQ takes a percentage below the first for the first, one above the second for the second."""


class LogFile(NamedTuple):
    """A file of the log: its first position, and when it was written last."""

    start: int
    modified_ms: int


class Disks(NamedTuple):
    """How full they are, in percent, rounded up; NONE where nobody can say."""

    log_percent: int
    queues_percent: int

    @property
    def fullest(self) -> int:
        """The higher of the two, or NONE."""
        return max(self)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator has set.

    Attributes:
        reserved_ms: how long a file is kept after it was written last.
        hours: of the day, in which expired files are deleted.
        reclaim_percent, force_percent, refuse_percent: see above.
        may_force: whether files that are not expired may go for want of room.
        batch_max: how many files may go in one look.
    """

    reserved_ms: int
    hours: frozenset[int]
    reclaim_percent: int
    force_percent: int
    refuse_percent: int
    may_force: bool
    batch_max: int

    @classmethod
    def of(cls, config: Config) -> "Rules":
        """The rules that a configuration states."""
        return cls(
            config.file_reserved_hours * HOUR_MS,
            frozenset(map(int, config.delete_hours)),
            _within(config.disk_reclaim_percent, RECLAIM_BOUNDS),
            _within(config.disk_force_percent, FORCE_BOUNDS),
            _within(config.disk_refuse_percent, REFUSE_BOUNDS),
            config.clean_forcibly_enable,
            config.delete_batch_max,
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """What a look has found.

    Attributes:
        files: of the log, the oldest first; those behind them need not be named.
        file_bytes: the size of each.
        trimmed: the position below which the log is gone already, whatever files are left.
        needed: no file goes that holds a byte at or above this position.
        disks: how full they are.
        was_full: whether messages are refused for that until now.
        now_ms: the clock.
        hour: of the day, in local time.
        is_asked: whether an administrator has asked for it.
    """

    files: Sequence[LogFile]
    file_bytes: int
    trimmed: int
    needed: int
    disks: Disks
    was_full: bool
    now_ms: int
    hour: int
    is_asked: bool


class Decision(NamedTuple):
    """What follows from it.

    Attributes:
        trim_to: the position at which the log is to begin: `trimmed`, where nothing goes.
        is_full: whether messages are to be refused.
        triggers: the names of what lets files be deleted.
    """

    trim_to: int
    is_full: bool
    triggers: tuple[str, ...]


def decide(rules: Rules, found: Situation) -> Decision:
    """Say what goes and whether messages are taken."""
    fullest = found.disks.fullest
    is_full = fullest > rules.refuse_percent or (
        found.was_full and (fullest == NONE or fullest > rules.force_percent)
    )
    conditions = {
        "time": found.hour in rules.hours,
        "space": fullest > rules.reclaim_percent,
        "forced": rules.may_force and fullest > min(rules.force_percent, rules.refuse_percent),
        "manual": found.is_asked,
    }
    triggers = tuple(name for name, holds in conditions.items() if holds)
    trim_to = found.trimmed
    if triggers:
        trim_to = _trim_to(rules, found, is_forced=conditions["forced"])
    return Decision(trim_to, is_full, triggers)


def needed_from(flushed: int, dispatched: int, indexed: int, appended: int) -> int:
    """The position from which on somebody needs the log; its last byte is always needed.

    Args:
        flushed: the end of what is on disk.
        dispatched: the end of what is in the queues.
        indexed: the end of what is in the key index, or of the log where there is none.
        appended: the end of the log.
    """
    return min(flushed, dispatched, indexed, appended - 1)


def _trim_to(rules: Rules, found: Situation, *, is_forced: bool) -> int:
    trim_to = found.trimmed
    gone = 0
    for file in found.files:
        end = file.start + found.file_bytes
        if end <= found.trimmed:
            continue  # it is being deleted
        is_expired = found.now_ms >= file.modified_ms + rules.reserved_ms
        if end > found.needed or gone == rules.batch_max or not (is_expired or is_forced):
            break
        trim_to = end
        gone += 1
    return trim_to


def _within(percent: int, bounds: tuple[int, int]) -> int:
    least, most = bounds
    return min(max(percent, least), most)
