"""The settings that say how long messages are kept, and what happens as the disk fills.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

import re
from dataclasses import dataclass
from typing import Final

from shmq.config.setting import between, duration, quantity, satisfying, setting
from shmq.config.units import DAY_MS, INT32_MAX

_HOURS: Final = satisfying(
    "hours from 0 to 23, parted by `;`, or empty",
    lambda values: all(re.fullmatch(r"[01]?\d|2[0-3]", value, re.ASCII) for value in values),
)
_PERCENT: Final = between(0, 100)


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """How long messages are kept, and what happens as the disk fills."""

    file_reserved_hours: int = setting(
        72,
        "A file of the log is expired when nothing was written to it for so many hours. Expired files, the oldest first "
        "and never the last one, are deleted in the hours of delete_hours, while the disk is fuller than "
        "disk_reclaim_percent, and when an administrator asks for it.",
        java="fileReservedTime",
        allowed=between(0, INT32_MAX),
    )
    delete_hours: tuple[str, ...] = setting(
        ("04",),
        "The hours of the day, in local time, through which expired files are deleted.",
        java="deleteWhen",
        allowed=_HOURS,
    )
    clean_interval_ms: int = setting(
        10_000,
        "How often the disk and the age of files are looked at; once a minute while no client is there and nothing is "
        "written.",
        java="cleanResourceInterval",
        allowed=duration(),
    )
    disk_reclaim_percent: int = setting(
        75,
        "While the disk of the log or of the queues is fuller than this, expired files are deleted at any hour. Counts as "
        "at least 10 and at most 95.",
        java="diskMaxUsedSpaceRatio",
        allowed=_PERCENT,
    )
    disk_force_percent: int = setting(
        85,
        "While a disk is fuller than this, the oldest files are deleted whether or not they are expired, if "
        "clean_forcibly_enable. Counts as at least 30 and at most 85.",
        java="diskSpaceCleanForciblyRatio",
        allowed=_PERCENT,
    )
    disk_refuse_percent: int = setting(
        90,
        "When a disk is fuller than this, every message is refused with SERVICE_NOT_AVAILABLE, until the disks are no "
        "fuller than disk_force_percent. Counts as at least 35 and at most 90.",
        java="diskSpaceWarningLevelRatio",
        allowed=_PERCENT,
    )
    clean_forcibly_enable: bool = setting(
        True,
        "Whether files that are not expired may be deleted for want of room.",
        java="cleanFileForciblyEnable",
    )
    delete_batch_max: int = setting(
        10, "Most files of the log that one look lets go.", java="deleteFileBatchMax", allowed=quantity()
    )
    delete_log_interval_ms: int = setting(
        100,
        "Pause after each file of the log that was deleted.",
        java="deleteCommitLogFilesInterval",
        allowed=between(0, DAY_MS),
    )
    delete_queue_interval_ms: int = setting(
        100,
        "Pause after each queue of which files were deleted; no queue shows their messages any more by then.",
        java="deleteConsumeQueueFilesInterval",
        allowed=between(0, DAY_MS),
    )
