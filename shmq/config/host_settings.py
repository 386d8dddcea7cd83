"""The settings that say what the broker takes of its host: disk, memory, processes, sockets, logs.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

import grp
import os
from dataclasses import dataclass
from typing import Final

from shmq.config.cpu_pinning import AUTO, is_pinning
from shmq.config.setting import between, duration, one_of, power_of_two, quantity, satisfying, setting
from shmq.config.units import DAY_MS, GIB, INT32_MAX, KIB, MIB

QUEUE_ENTRY_BYTES: Final = 20
NETWORK_WORKERS_MAX: Final = 32
LOCAL_SESSIONS_MAX: Final = 256
WAIT_STRATEGIES: Final = ("futex", "yield", "busy_spin")

_WAIT_STRATEGY: Final = one_of(*WAIT_STRATEGIES)


def _half_of_the_cpus() -> int:
    return min(max(1, len(os.sched_getaffinity(0)) // 2), NETWORK_WORKERS_MAX)


def _is_one_path(path: str) -> bool:
    return bool(path) and "," not in path


def _is_group(name: str) -> bool:
    return name == "" or any(name == group.gr_name for group in grp.getgrall())


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where and how messages are stored."""

    store_root: str = setting(
        "~/store",
        "Directory of the store, laid out as RocketMQ's.",
        java="storePathRootDir",
        allowed=satisfying("a path", bool),
    )
    commit_log_directory: str = setting(
        "",
        "Directory of the commit log, if it lies on a disk of its own.",
        java="storePathCommitLog",
        allowed=satisfying("one path; several, which Java parts by commas, are not supported", _is_one_path),
        shown="<store_root>/commitlog",
    )
    commit_log_file_bytes: int = setting(
        GIB,
        "Size of one commit log file. Only small disks and tests want less. A record that does not fit in a file is "
        "refused when it is sent.",
        java="mappedFileSizeCommitLog mapedFileSizeCommitLog",
        allowed=between(4096, INT32_MAX),
    )
    consume_queue_file_bytes: int = setting(
        6_000_000,
        "Size of one consume queue file, rounded up to a multiple of 20, the size of an entry.",
        java="mappedFileSizeConsumeQueue mapedFileSizeConsumeQueue",
        allowed=between(QUEUE_ENTRY_BYTES, INT32_MAX - INT32_MAX % QUEUE_ENTRY_BYTES),
    )
    flush_disk_type: str = setting(
        "ASYNC_FLUSH",
        "SYNC_FLUSH answers a send when the message is on disk; ASYNC_FLUSH when it is in the log.",
        java="flushDiskType",
        allowed=one_of("ASYNC_FLUSH", "SYNC_FLUSH"),
    )
    flush_interval_ms: int = setting(
        500,
        "How often the log is flushed under ASYNC_FLUSH.",
        java="flushIntervalCommitLog",
        allowed=duration(),
    )
    flush_least_pages: int = setting(
        4,
        "Fewer dirty pages (4 KiB) than this are left for a later round under ASYNC_FLUSH.",
        java="flushCommitLogLeastPages",
        allowed=between(0, INT32_MAX),
    )
    flush_thorough_interval_ms: int = setting(
        10_000,
        "How often everything is flushed, however little it is, under ASYNC_FLUSH.",
        java="flushCommitLogThoroughInterval",
        allowed=duration(),
    )
    sync_flush_timeout_ms: int = setting(
        5000,
        "How long a send waits for the disk under SYNC_FLUSH before it is answered FLUSH_DISK_TIMEOUT.",
        java="syncFlushTimeout",
        allowed=duration(),
    )
    transient_pool: bool = setting(
        False,
        "Whether messages are written to locked memory first and from there to the log: the writer never waits for a "
        "page of a file, a message can be consumed only after commit_interval_ms or when there are enough, and what "
        "was answered in that time is lost where all processes are killed at once.",
        java="transientStorePoolEnable",
    )
    transient_pool_buffers: int = setting(
        5,
        "Buffers of the transient pool, each of the size of a commit log file: one is filled while another is written.",
        java="transientStorePoolSize",
        allowed=between(2, 1024),
    )
    commit_interval_ms: int = setting(
        200,
        "How long a message may lie in the transient pool before it is written to the log.",
        java="commitCommitLogThoroughInterval",
        allowed=duration(),
    )
    commit_least_pages: int = setting(
        4,
        "So many pages (4 KiB) in the transient pool are written to the log at once; under SYNC_FLUSH any.",
        java="commitCommitLogLeastPages",
        allowed=between(0, INT32_MAX),
    )
    consume_queue_flush_interval_ms: int = setting(
        1000, "How often consume queues are flushed.", java="flushIntervalConsumeQueue", allowed=duration()
    )
    key_index: bool = setting(
        True,
        "Whether messages can be found by their keys and unique ids; what was stored while it was off is indexed when it "
        "is on again.",
        java="messageIndexEnable",
    )
    key_index_slots: int = setting(
        5_000_000,
        "Slots of one key index file: about a quarter of key_index_entries. Other files than of these sizes are built "
        "again.",
        java="maxHashSlotNum",
        allowed=quantity(),
    )
    key_index_entries: int = setting(
        20_000_000,
        "Entries of one key index file, of which the first is not used. A message takes one for each key and one for its "
        "unique id, of 20 bytes.",
        java="maxIndexNum",
        allowed=between(2, INT32_MAX),
    )
    message_bytes_max: int = setting(
        4 * MIB,
        "Longest message body. Larger needs a larger submit_ring_bytes and frame_bytes_max.",
        java="maxMessageSize",
        allowed=between(1, 256 * MIB),
    )


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Limits of the network."""

    connections_max: int = setting(
        10_000, "Most connections of one network worker; further ones are closed at once.", allowed=quantity()
    )
    frame_bytes_max: int = setting(
        16 * MIB,
        "Longest request frame; a longer one closes its connection.",
        allowed=between(64 * KIB, INT32_MAX),
    )
    output_bytes_max: int = setting(
        64 * MIB,
        "Most bytes that wait to be read by one slow client; then its connection is closed.",
        allowed=between(64 * KIB, 2**40),
    )
    send_wait_ms_max: int = setting(
        200,
        "A send that has waited for longer than this before it reached the log is answered SYSTEM_BUSY; a one-way send, which "
        "nobody would hear of, waits on.",
        java="waitTimeMillsInSendQueue",
        allowed=duration(),
    )


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Processes, shared memory, logs."""

    network_workers: int = setting(
        _half_of_the_cpus,
        "Processes that serve clients.",
        allowed=between(1, NETWORK_WORKERS_MAX),
        shown=f"half of the CPUs, at least 1 and at most {NETWORK_WORKERS_MAX}",
    )
    submit_ring_bytes: int = setting(
        16 * MIB,
        "Ring from each producer to the commit writer; must hold two messages of the largest size.",
        allowed=power_of_two(64 * KIB, GIB),
    )
    completion_ring_bytes: int = setting(
        MIB, "Ring from the commit writer back to each producer.", allowed=power_of_two(4 * KIB, GIB)
    )
    letter_ring_bytes: int = setting(
        4 * MIB, "Ring for letters between two processes, each way.", allowed=power_of_two(64 * KIB, GIB)
    )
    local_sessions_max: int = setting(
        32,
        "Most producers and consumers in other processes of this host that are attached to the shared memory at a "
        "time (shmq.local); 0 for none. One that is not attached costs no memory.",
        allowed=between(0, LOCAL_SESSIONS_MAX),
    )
    local_submit_ring_bytes: int = setting(
        4 * MIB,
        "Ring from each of these to the commit writer, reserved while it is attached; one message may take up half of "
        "it.",
        allowed=power_of_two(64 * KIB, GIB),
    )
    local_completion_ring_bytes: int = setting(
        MIB, "Ring from the commit writer back to each of these.", allowed=power_of_two(4 * KIB, GIB)
    )
    queue_slots_max: int = setting(
        65_536,
        "Most queues of the broker. System topics take some 1,100 of them.",
        allowed=between(2048, 2**24),
    )
    topics_max: int = setting(16_384, "Most topics of the broker.", allowed=between(64, 2**22))
    groups_max: int = setting(16_384, "Most consumer groups of the broker.", allowed=between(16, 2**22))
    offset_rows_max: int = setting(
        262_144, "Most pairs of a consumer group and a queue.", allowed=between(16, 2**26)
    )
    shared_memory_group: str = setting(
        "",
        "Unix group that may attach to the shared memory (mode 0660); empty: this user alone (0600).",
        allowed=satisfying("a Unix group of this machine, or empty", _is_group),
    )
    wait_strategy: str = setting(
        "futex",
        "What a process does that has nothing to do. futex: look again for a few microseconds (none where there is a "
        "single CPU), then sleep until it is woken. yield: let others run and look again. busy_spin: look again at once; "
        "lowest latency. The last two cost a whole CPU for each process.",
        allowed=one_of(*WAIT_STRATEGIES),
    )
    writer_wait_strategy: str = setting(
        "", "That of the commit writer.", allowed=_WAIT_STRATEGY, shown="that of wait_strategy"
    )
    dispatcher_wait_strategy: str = setting(
        "", "That of the dispatcher.", allowed=_WAIT_STRATEGY, shown="that of wait_strategy"
    )
    network_wait_strategy: str = setting(
        "", "That of the network workers.", allowed=_WAIT_STRATEGY, shown="that of wait_strategy"
    )
    cpu_pinning: str = setting(
        AUTO,
        "The CPU on which each process stays, such as net-0=0,writer=1,dispatcher=1; spread to have them on different "
        "ones; auto to have writer, dispatcher and network workers share the second of two CPUs, and go anywhere "
        "with more or where one of them spins; or none.",
        allowed=satisfying("auto, none, spread, or NAME=CPU,NAME=CPU…", is_pinning),
    )
    restart_delay_ms_min: int = setting(
        100,
        "Wait before a dead process is first started again; it doubles each time.",
        allowed=between(0, DAY_MS),
    )
    restart_delay_ms_max: int = setting(10_000, "Longest such wait.", allowed=between(0, DAY_MS))
    restarts_max: int = setting(
        20,
        "More restarts of one process than this within restart_window_ms stop the broker.",
        allowed=quantity(),
    )
    restart_window_ms: int = setting(60_000, "The window in which restarts are counted.", allowed=duration())
    stop_timeout_ms: int = setting(
        30_000, "How long processes may take to stop before they are killed.", allowed=duration()
    )
    log_directory: str = setting(
        "~/logs/shmq",
        "Directory of shmq.log, one JSON object a line; SIGHUP reopens it.",
        allowed=satisfying("a path", bool),
    )
    log_level: str = setting(
        "info", "Least severe level that is logged.", allowed=one_of("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "console",
        "Form of the log on standard error; the file is always JSON.",
        allowed=one_of("console", "json"),
    )
    ready_file: str = setting("", "File that is written when the broker is ready, and removed when it stops.")
