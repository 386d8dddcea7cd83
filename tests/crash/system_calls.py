"""Seccomp's user notification: every call of a process tree that touches a disk waits for an answer of ours.

A filter goes with fork and exec, and sees calls by their number: those of libc, and those that a kernel of ours makes
by the instruction. So the broker that is watched is the real one, with all its processes and threads, unchanged.
"""

import array
import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

_MACHINE: Final = platform.machine()
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}[_MACHINE]
_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[_MACHINE]
_NUMBERS: Final = {
    "x86_64": {
        "open": 2,
        "pwrite64": 18,
        "msync": 26,
        "fsync": 74,
        "fdatasync": 75,
        "truncate": 76,
        "ftruncate": 77,
        "rename": 82,
        "mkdir": 83,
        "rmdir": 84,
        "link": 86,
        "unlink": 87,
        "sync": 162,
        "openat": 257,
        "mkdirat": 258,
        "unlinkat": 263,
        "renameat": 264,
        "linkat": 265,
        "sync_file_range": 277,
        "fallocate": 285,
        "syncfs": 306,
        "renameat2": 316,
    },
    "aarch64": {
        "mkdirat": 34,
        "unlinkat": 35,
        "linkat": 37,
        "renameat": 38,
        "truncate": 45,
        "ftruncate": 46,
        "fallocate": 47,
        "openat": 56,
        "pwrite64": 68,
        "sync": 81,
        "fsync": 82,
        "fdatasync": 83,
        "sync_file_range": 84,
        "msync": 227,
        "syncfs": 267,
        "renameat2": 276,
    },
}[_MACHINE]
_NAMES: Final = {number: name for name, number in _NUMBERS.items()}
_OPENINGS: Final = {"open": 1, "openat": 2}
"""Which argument holds the flags."""
_MAKES_OR_CUTS: Final = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_WAIT_KILLABLE: Final = 1 << 5
_PR_SET_NO_NEW_PRIVS: Final = 38
_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # of classic BPF
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data

_NOTICE: Final = struct.Struct("QIIiIQ6Q")
_ANSWER: Final = struct.Struct("QqiI")
_RECEIVE: Final = 0xC0000000 | _NOTICE.size << 16 | ord("!") << 8
_SEND: Final = 0xC0000000 | _ANSWER.size << 16 | ord("!") << 8 | 1
_CONTINUE: Final = 1


class Call(NamedTuple):
    """A system call that waits for its answer.

    Attributes:
        ticket: by which it is answered.
        thread: which makes it.
        name: of the call.
        arguments: as they stand in the registers.
    """

    ticket: int
    thread: int
    name: str
    arguments: tuple[int, ...]


class Listener:
    """Where the calls of a watched process tree come in."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def receive(self, timeout_ms: int) -> Call | None:
        """The next call, or None when there is none in time or nobody is left.

        Raises:
            EOFError: all processes have ended.
        """
        for _, event in self._poll.poll(timeout_ms):
            if not event & select.POLLIN:
                raise EOFError
            notice = bytearray(_NOTICE.size)
            try:
                fcntl.ioctl(self._descriptor, _RECEIVE, notice)
            except OSError:  # it was killed meanwhile
                return None
            ticket, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
            return Call(ticket, thread, _NAMES[number], tuple(arguments))
        return None

    def go_on(self, call: Call) -> bool:
        """Let the system do it; False where the caller is gone."""
        return self._answer(call, 0, _CONTINUE)

    def fail(self, call: Call, error: int) -> bool:
        """Answer with an error number in the system's place."""
        return self._answer(call, -error, 0)

    def succeed(self, call: Call) -> bool:
        """Answer 0 in the system's place."""
        return self._answer(call, 0, 0)

    def close(self) -> None:
        """From now on whoever calls is answered ENOSYS by the system."""
        os.close(self._descriptor)

    def _answer(self, call: Call, error: int, flags: int) -> bool:
        try:
            fcntl.ioctl(self._descriptor, _SEND, _ANSWER.pack(call.ticket, 0, error, flags))
        except OSError:
            return False
        return True


def install() -> int:
    """Watch this process and all that come of it; return the listener's descriptor.

    Raises:
        OSError: the system, or a container's rules, do not permit it.
    """
    code = _filter()
    program = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("H6xQ", len(code) // 8, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    arguments = (_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE)
    descriptor = int(libc.syscall(*map(ctypes.c_long, arguments), head))
    if descriptor < 0:
        code_number = ctypes.get_errno()
        raise OSError(code_number, os.strerror(code_number))
    return descriptor


def is_permitted() -> bool:
    """Whether this machine lets a process be watched (Linux 5.19, and a container whose rules allow it)."""
    child = os.fork()
    if child == 0:
        try:
            install()
        except BaseException:  # noqa: BLE001 - the child must not return into its parent's code
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def hand_over(descriptor: int, path: str) -> None:
    """Give a listener to whoever listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        rights = array.array("i", [descriptor])
        connection.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def path_of(thread: int, descriptor: int) -> str:
    """What a descriptor of a thread is open on; empty where it is gone."""
    try:
        return str(Path(f"/proc/{thread}/fd/{descriptor}").readlink())
    except OSError:
        return ""


def mapped_file(thread: int, address: int) -> tuple[str, int, int]:
    """The path and the inode of the file that a thread has mapped at an address, and the place in it.

    Without a file there the path is empty.
    """
    try:
        lines = (
            Path(f"/proc/{thread}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        )
    except OSError:
        return "", 0, 0
    for line in lines:
        addresses, _, offset, _, inode, *path = line.split(maxsplit=5)
        begin, _, end = addresses.partition("-")
        if int(begin, 16) <= address < int(end, 16):
            return (path[0] if path else ""), int(inode), int(offset, 16) + address - int(begin, 16)
    return "", 0, 0


def _filter() -> bytes:
    """The classic BPF program: whom to ask about which call."""
    plain = [number for name, number in _NUMBERS.items() if name not in _OPENINGS]
    openings = [(number, _OPENINGS[name]) for name, number in _NUMBERS.items() if name in _OPENINGS]
    # Each opening needs four instructions; the last two of all are ALLOW and NOTIFY.
    size = 3 + len(plain) + 4 * len(openings) + 2
    allow, notify = size - 2, size - 1
    code: list[tuple[int, int, int, int]] = []

    def put(operation: int, value: int, if_true: int | None = None, if_false: int | None = None) -> None:
        here = len(code) + 1
        code.append(
            (
                operation,
                0 if if_true is None else if_true - here,
                0 if if_false is None else if_false - here,
                value,
            )
        )

    put(_LOAD, _ARCHITECTURE_AT)
    put(_EQUAL, _ARCHITECTURE, None, allow)
    put(_LOAD, _NUMBER_AT)
    for number in plain:
        put(_EQUAL, number, notify)
    for number, argument in openings:
        put(_EQUAL, number, len(code) + 1, len(code) + 4)
        put(_LOAD, _ARGUMENTS_AT + 8 * argument)
        put(_ANY_BIT, _MAKES_OR_CUTS, notify, allow)
        put(_RETURN, _ALLOW)
    put(_RETURN, _ALLOW)
    put(_RETURN, _NOTIFY)
    assert len(code) == size
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
