"""A seccomp filter for a process that may only compute, and read and write the two pipes that it has.

What is not listed ends the process. What an interpreter tries by the way, such as to look for a module, is refused
instead. Memory may be taken and given back, but none that is executable, and none that is a file.

The filter is a program of classic BPF that the kernel runs before each call. It holds for all threads, and for good.
"""

import ctypes
import platform
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | 1  # with EPERM
_KILL: Final = 0x8000_0000  # the whole process
_PROT_EXEC: Final = 4
_NO_FILE: Final = 0xFFFF_FFFF
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1


class _Calls(NamedTuple):
    """Numbers of system calls on one architecture."""

    architecture: int
    seccomp: int
    read: int
    write: int
    mmap: int
    mprotect: int
    harmless: tuple[int, ...]
    refused: tuple[int, ...]


_CALLS: Final = {
    # harmless: munmap brk rt_sigprocmask rt_sigreturn sched_yield mremap madvise getpid exit gettid futex sigaltstack
    #   restart_syscall clock_gettime exit_group getrandom
    # refused: open stat fstat lstat lseek ioctl access fcntl getcwd readlink openat newfstatat readlinkat faccessat
    "x86_64": _Calls(
        0xC000_003E,
        317,
        0,
        1,
        9,
        10,
        (11, 12, 14, 15, 24, 25, 28, 39, 60, 186, 202, 131, 219, 228, 231, 318),
        (2, 4, 5, 6, 8, 16, 21, 72, 79, 89, 257, 262, 267, 269),
    ),
    "aarch64": _Calls(
        0xC000_00B7,
        277,
        63,
        64,
        222,
        226,
        (215, 214, 135, 139, 124, 216, 233, 172, 93, 178, 98, 132, 128, 113, 94, 278),
        (80, 62, 29, 25, 17, 56, 79, 78, 48),
    ),
}


def is_supported() -> bool:
    """Whether we know this machine's calls."""
    return platform.machine() in _CALLS


def confine_calls() -> None:
    """Let this process, from now on, only compute, read its descriptor 0, and write its descriptor 1.

    Raises:
        OSError: the kernel does not take the filter.
    """
    calls = _CALLS[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
    code = b"".join(_program(calls))
    program = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("H6xQ", len(code) // 8, ctypes.addressof(program))
    taken = libc.syscall(calls.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.c_char_p(head))
    if taken != 0:
        raise OSError(ctypes.get_errno(), "the seccomp filter is not taken")


def _program(calls: _Calls) -> Iterable[bytes]:
    yield _step(_LOAD, _ARCHITECTURE_AT)
    yield _step(_EQUAL, calls.architecture, 1, 0)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, _NUMBER_AT)
    for number in calls.harmless:
        yield from _if(number, _step(_RETURN, _ALLOW))
    for number in calls.refused:
        yield from _if(number, _step(_RETURN, _REFUSE))
    for number, descriptor in ((calls.read, 0), (calls.write, 1)):
        yield from _if(number, _load_argument(0), _step(_EQUAL, descriptor, 0, 1), *_ALLOW_OR_KILL)
    yield from _if(calls.mprotect, _load_argument(2), _step(_ANY_BIT, _PROT_EXEC, 1, 0), *_ALLOW_OR_KILL)
    yield from _if(
        calls.mmap,
        _load_argument(4),
        _step(_EQUAL, _NO_FILE, 0, 3),
        _load_argument(2),
        _step(_ANY_BIT, _PROT_EXEC, 1, 0),
        *_ALLOW_OR_KILL,
    )
    yield _step(_RETURN, _KILL)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


_ALLOW_OR_KILL: Final = (_step(_RETURN, _ALLOW), _step(_RETURN, _KILL))


def _if(number: int, *steps: bytes) -> Iterable[bytes]:
    """Take some steps, which end it, for one call."""
    yield _step(_EQUAL, number, 0, len(steps))
    yield from steps


def _load_argument(index: int) -> bytes:
    return _step(_LOAD, _ARGUMENTS_AT + 8 * index)  # the low half: both architectures are little-endian
