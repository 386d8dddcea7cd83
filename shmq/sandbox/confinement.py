"""Give up all that a process has but memory, time, and two pipes; there is no way back.

In this order: it dies with its parent; it may have no more processes, files, locked memory or core dumps, and so much
memory; root becomes nobody, without groups; nothing can be gained by executing a program; then the seccomp filter,
behind which no other call is possible (`seccomp.py`).
"""

import ctypes
import os
import resource
import signal
from typing import Final

from shmq.sandbox.seccomp import confine_calls

_NOBODY: Final = 65534
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4


def give_up_privileges(memory_bytes_max: int) -> None:
    """Give up all but the system calls; descriptors other than the pipes must be closed already.

    Args:
        memory_bytes_max: of the process, as far as it has addresses for; 0 sets no limit.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for limit in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_NOFILE,
    ):
        resource.setrlimit(limit, (0, 0))
    if memory_bytes_max:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of the user has cleared it
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def give_up_calls() -> None:
    """Give up the system calls: what comes next may be anybody's code."""
    confine_calls()
