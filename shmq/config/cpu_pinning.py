"""Which CPU each process of a broker stays on: `auto`, `none`, `spread`, or `net-0=0,writer=1,dispatcher=1`.

A process is named as in `ps`, without `shmq-`. One that is not named goes where the system puts it.

`auto`, with two CPUs, has those share the second through whose hands a message goes: who hands it on need not wake
the other CPU for it, which on a virtual machine costs several times as much as to change places on one, and the
clients have the first. Not so for processes that spin, since they never give way. Whatever else they do (flush, make
pages ready) their other threads do anywhere. With more CPUs, or one, nobody stays anywhere.

`spread` gives the writer the last CPU, the dispatcher the one before it, and the network workers the rest in turn; of
two CPUs the writer and the dispatcher share the second. All threads of a process stay where it does.
"""

import re
from collections.abc import Sequence
from typing import Final

NONE: Final = "none"
AUTO: Final = "auto"
SPREAD: Final = "spread"
SPINNING: Final = "busy_spin"
"""The way to wait that never gives way to whoever shares the CPU."""

_PAIR: Final = r"\s*[a-z]+(-\d{1,3})?=\d{1,5}\s*"
_CPUS_TO_SHARE: Final = 2
_CPUS_TO_SPLIT: Final = 3  # from so many on, writer and dispatcher have one each


def is_pinning(text: str) -> bool:
    """Whether a text has the form of a pinning."""
    return text in (NONE, AUTO, SPREAD) or all(
        re.fullmatch(_PAIR, pair, re.ASCII) for pair in text.split(",")
    )


def pinned_cpus(
    text: str, workers: int, cpus: Sequence[int], *, strategies: Sequence[str] = ()
) -> dict[str, int]:
    """The CPU of each process that stays on one.

    Args:
        text: the pinning.
        workers: how many network workers there are.
        cpus: those that this broker may use, in order.
        strategies: how its processes wait.

    Raises:
        ValueError: it names a process or a CPU that is not there; the message says what there is.
    """
    if text == NONE:
        return {}
    if text == AUTO:
        return {} if SPINNING in strategies else _share(workers, cpus)
    if text == SPREAD:
        return _spread(workers, cpus)
    names = [
        "writer",
        "dispatcher",
        "conductor",
        "registrar",
        *(f"net-{worker}" for worker in range(workers)),
    ]
    pinned: dict[str, int] = {}
    for pair in text.split(","):
        name, _, cpu = pair.strip().partition("=")
        if name not in names:
            raise ValueError(f"{NONE}, {AUTO}, {SPREAD}, or a CPU for any of {', '.join(names)}")
        if int(cpu) not in cpus:
            raise ValueError(f"a CPU that this process may use: {', '.join(map(str, cpus))}")
        pinned[name] = int(cpu)
    return pinned


def _share(workers: int, cpus: Sequence[int]) -> dict[str, int]:
    if len(cpus) != _CPUS_TO_SHARE:
        return {}
    return dict.fromkeys(("writer", "dispatcher", *(f"net-{worker}" for worker in range(workers))), cpus[-1])


def _spread(workers: int, cpus: Sequence[int]) -> dict[str, int]:
    if len(cpus) == 1:
        return {}
    is_split = len(cpus) >= _CPUS_TO_SPLIT
    rest = cpus[: -2 if is_split else -1]
    pinned = {"writer": cpus[-1], "dispatcher": cpus[-2 if is_split else -1]}
    return pinned | {f"net-{worker}": rest[worker % len(rest)] for worker in range(workers)}
