"""A jail from outside: the process in which an uploaded filter runs, asked without ever being waited for.

It is asked for one batch of messages at a time; what else is asked waits its turn. One that does not answer in time,
answers nonsense, or ends, is killed, and all that was asked of it fails with the reason. What holds it is on the other
side of the pipes, in `shmq.sandbox`.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shmq.sandbox.frames import FAILED, OK, REASON_BYTES_MAX, SIZE, Parts, join_messages
from shmq.workers.link import Watcher
from shmq.workers.sockets import READABLE, WRITABLE

START_MS_MAX: Final = 20_000
"""So long it may take to start and to take its filter on: an interpreter has to load."""
GRACE_MS: Final = 2000
"""So much is added to what a batch may take: the machine may be busy with something else."""

_NEVER_MS: Final = 1 << 62
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class JailLimits:
    """What a filter may take.

    Attributes:
        memory_bytes: memory, of the whole process in Python, of the module in WebAssembly.
        message_ms: time for a message.
        fuel: instructions of WebAssembly for a message.
    """

    memory_bytes: int = 256 << 20
    message_ms: int = 100
    fuel: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a jail says.

    Attributes:
        verdicts: whether each message matches; empty where it failed, and in answer to the filter itself.
        failure: why there is no answer; empty where there is.
    """

    verdicts: tuple[bool, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    payload: bytes
    count: int
    time_ms: int
    then: Callable[[Answer], None]


class Jail:
    """One filter's process.

    Attributes:
        is_alive: whether it can be asked.
    """

    def __init__(self, source: bytes, limits: JailLimits, watcher: Watcher) -> None:
        """Start the process; it is told the filter by the first question."""
        self.is_alive = True
        self._limits = limits
        self._watcher = watcher
        self._questions: deque[_Question] = deque()
        self._output = bytearray()
        self._input = bytearray()
        self._deadline_ms = _NEVER_MS
        self._source = source
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-I", "-m", *_program(source, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            close_fds=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        watcher.watch(self._out, self._on_readable, READABLE)

    def begin(self, then: Callable[[Answer], None], now_ms: int) -> None:
        """Have it take on the filter."""
        self._put(_Question(self._source, 0, START_MS_MAX, then), now_ms)

    def ask(self, messages: Sequence[Parts], then: Callable[[Answer], None], now_ms: int) -> None:
        """Ask which of some messages match."""
        time_ms = GRACE_MS + self._limits.message_ms * len(messages)
        self._put(_Question(join_messages(messages), len(messages), time_ms, then), now_ms)

    @property
    def due_ms(self) -> int:
        """When tick() is to be called."""
        return self._deadline_ms

    def tick(self, now_ms: int) -> None:
        """End it where its time is over; else have it do what waits."""
        if now_ms >= self._deadline_ms:
            self._die("it took too long")
        elif self.is_alive and self._questions and self._deadline_ms == _NEVER_MS:
            self._send(now_ms)

    def close(self) -> None:
        """End it."""
        self._die("it was replaced")

    def _put(self, question: _Question, now_ms: int) -> None:
        if not self.is_alive:
            question.then(Answer(failure="it has ended"))
            return
        self._questions.append(question)
        if len(self._questions) == 1:
            self._send(now_ms)

    def _send(self, now_ms: int) -> None:
        question = self._questions[0]
        self._deadline_ms = now_ms + question.time_ms
        self._output += SIZE.pack(len(question.payload)) + question.payload
        self._on_writable()

    def _on_writable(self) -> None:
        try:
            sent = os.write(self._in, self._output) if self._output else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._die(self._end())
            return
        del self._output[:sent]
        if self._output:
            self._watcher.watch(self._in, self._on_writable, WRITABLE)
        else:
            self._watcher.unwatch(self._in)

    def _on_readable(self) -> None:
        try:
            received = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return
        if not received:
            self._die(self._end())
            return
        self._input += received
        if len(self._input) < SIZE.size:
            return
        (size,) = SIZE.unpack_from(self._input)
        if not self._questions or not 1 <= size <= 1 + max(self._questions[0].count, REASON_BYTES_MAX):
            self._die("it said what nobody had asked")
        elif len(self._input) > SIZE.size + size:
            self._die("it said more than it was asked")
        elif len(self._input) == SIZE.size + size:
            answer = bytes(self._input[SIZE.size :])
            self._input.clear()
            self._take(answer)

    def _take(self, answer: bytes) -> None:
        question = self._questions[0]
        kind, rest = answer[:1], answer[1:]
        if kind == FAILED:
            reason = rest.decode("utf-8", "replace")
            if question.count == 0:
                self._die(reason)
                return
            made = Answer(failure=reason)
        elif kind == OK and len(rest) == question.count:
            made = Answer(tuple(map(bool, rest)))
        else:
            self._die("it said what is no answer")
            return
        self._questions.popleft()
        self._deadline_ms = _NEVER_MS  # the next question begins with the next tick()
        question.then(made)

    def _end(self) -> str:
        """How the process ended."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}"

    def _die(self, reason: str) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        self._deadline_ms = _NEVER_MS
        self._watcher.unwatch(self._out)
        if self._output:
            self._watcher.unwatch(self._in)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), True)
            pipe.close()
        asked, self._questions = self._questions, deque()
        for question in asked:
            question.then(Answer(failure=reason))


def _program(source: bytes, limits: JailLimits) -> list[str]:
    if is_wasm(source):
        return ["shmq.sandbox.wasm_jail", str(limits.memory_bytes), str(limits.fuel)]
    return ["shmq.sandbox.python_jail", str(limits.memory_bytes)]


def is_wasm(source: bytes) -> bool:
    """Whether a filter is WebAssembly, as a binary or as text."""
    return source.startswith(b"\0asm") or source.lstrip().startswith((b"(module", b";;", b"(;"))
