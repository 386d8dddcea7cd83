"""What an uploaded filter can do, and what it cannot: no file, no network, no process, bounded memory and time."""

import os
import zlib
from pathlib import Path

import pytest
import wasmtime

from shmq.sandbox.seccomp import is_supported
from tests.support.inmate import MIB, WAT_BODY_A, Inmate, message

pytestmark = pytest.mark.skipif(not is_supported(), reason="no sandbox is known for this machine")

KILLED = "it was ended by signal 31"  # SIGSYS: a call that is not allowed


def test_a_filter_in_python_sees_messages():
    source = """
import json, re
print("to nobody")
def matches(message):
    assert (message.topic, message.queue_id, message.queue_offset, message.born_ms) == ("T", 1, 2, 3)
    return message.tags == "a" and "k2" in message.keys and re.match(b"x+", message.body) is not None
"""
    with Inmate(source) as inmate:
        assert inmate.begin().failure == ""
        fitting = b"TAGS\x01a\x02KEYS\x01k1 k2\x02"
        assert inmate.ask(
            message(properties=fitting), message(properties=b"TAGS\x01a\x02"), message(b"y", fitting)
        ) == [
            True,
            False,
            False,
        ]
        assert inmate.ask() == []


def test_bodies_are_decompressed():
    with Inmate("def matches(message): return message.body == b'x' * 1000") as inmate:
        inmate.begin()
        assert inmate.ask(message(zlib.compress(b"x" * 1000), sys_flag=1)) == [True]


def test_an_exception_is_told_and_the_filter_goes_on():
    with Inmate("def matches(message):\n    return 1 / len(message.body)") as inmate:
        inmate.begin()
        assert inmate.ask(message(b"")) == "ZeroDivisionError: division by zero, line 2"
        assert inmate.ask(message(b"x")) == [True]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = (", "SyntaxError"),
        ("x = 1", "no function `matches`"),
        ("open('/etc/passwd')", "PermissionError"),
        ("import os; os.open('/etc/passwd', 0)", "PermissionError"),
        ("import os; os.listdir('/')", "PermissionError"),
        ("import socket", "ModuleNotFoundError"),
        ("import ctypes", "ModuleNotFoundError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("import os; os.fork()", KILLED),
        ("import os; os.system('true')", KILLED),
        ("import os; os.execv('/bin/true', ['true'])", KILLED),
        ("import os; os.kill(os.getppid(), 9)", KILLED),
        ("import os; os.setuid(0)", KILLED),
        ("import os; os.write(2, b'x')", KILLED),
        ("import os; os.pipe()", KILLED),
        ("import os; os.unlink('/tmp/x')", KILLED),
        ("import os; os.dup(0)", "PermissionError"),
        ("import signal; signal.alarm(1)", KILLED),
        ("import time; time.sleep(1)", KILLED),
        ("import _thread; _thread.start_new_thread(print, ())", KILLED),
        ("x = 'a' * (1 << 30)", "MemoryError"),
        ("import os; os.write(1, b'\\xff\\xff\\xff\\x7f')", "nobody had asked"),
        ("import os; os._exit(0)", "it ended with code 0"),
    ],
)
def test_what_a_filter_may_not_do(source, reason):
    with Inmate(source) as inmate:
        assert reason in inmate.begin().failure
        assert not inmate.jail.is_alive
        assert inmate.ask(message()) == "it has ended"


def test_a_socket_is_none_whoever_has_the_module():
    """Were it imported before, the call itself would still end the process."""
    source = "import sys\nfor name in list(sys.modules): assert 'socket' not in name, name\ndef matches(message): return 1"
    with Inmate(source) as inmate:
        assert inmate.begin().failure == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root stays who he is")
def test_root_becomes_nobody():
    source = "import os\nuser = os.environ\ndef matches(message): return not user"
    with Inmate(source) as inmate:
        assert inmate.begin().failure == ""
        status = Path(f"/proc/{inmate.jail._process.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapEff:\t0000000000000000" in status


def test_a_filter_that_never_ends_is_killed():
    with Inmate("def matches(message):\n    while True: pass", message_ms=100) as inmate:
        inmate.begin()
        assert inmate.ask(message()) == "it took too long"
        assert not inmate.jail.is_alive


def test_memory_is_bounded_message_by_message():
    source = "kept = []\ndef matches(message):\n    kept.append(b'x' * (1 << 24))\n    return True"
    with Inmate(source, memory_bytes=256 * MIB) as inmate:
        inmate.begin()
        answers = [inmate.ask(message()) for _ in range(40)]
    assert answers[0] == [True]
    assert answers[-1] != [True]


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_filter_in_webassembly_sees_messages(kind):
    source = WAT_BODY_A if kind == "text" else bytes(wasmtime.wat2wasm(WAT_BODY_A.decode()))
    with Inmate(source.strip()) as inmate:
        assert inmate.begin().failure == ""
        assert inmate.ask(message(b"Ab"), message(b"Ba"), message(b"A", b"a\x01b\x02")) == [True, False, True]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("(i32.eq", "(loop (br 0)) (i32.eq", "all fuel consumed"),
        ("(i32.eq", "(drop (i32.load (i32.const -8))) (i32.eq", "out of bounds"),
        ("(i32.eq", "unreachable (i32.eq", "unreachable"),
        ("(i32.const 1024)", "(i32.const -1)", "out of range"),
    ],
)
def test_a_trap_is_told_and_the_next_message_gets_a_new_instance(old, new, reason):
    with Inmate(WAT_BODY_A.decode().replace(old, new).strip()) as inmate:
        assert inmate.begin().failure == ""
        for _ in range(2):
            assert reason in inmate.ask(message(b"A"))
        assert inmate.jail.is_alive


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("(module", "expected"),
        ("(module)", "no memory"),
        ('(module (memory (export "memory") 1))', "no func `allocate`"),
        (
            '(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))',
            "import",
        ),
        ('(module (memory (export "memory") 9000))', "memory limits"),
        ("(module (func $f (loop (br 0))) (start $f))", "all fuel consumed"),
    ],
)
def test_a_module_that_wants_more_is_not_taken(source, reason):
    with Inmate(source) as inmate:
        assert reason in inmate.begin().failure
        assert not inmate.jail.is_alive


def test_a_module_cannot_grow_beyond_its_memory():
    growing = "(i32.eq (memory.grow (i32.const 2000)) (i32.const -1))))"
    source = WAT_BODY_A.decode().strip()
    source = source[: source.index("(i32.eq")] + growing
    with Inmate(source, memory_bytes=64 * MIB) as inmate:
        assert inmate.begin().failure == ""
        assert inmate.ask(message()) == [True]
