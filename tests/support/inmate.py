"""A jail and its warden for tests: filters are run as a filter server runs them."""

import structlog

from shmq.sandbox.frames import Parts
from shmq.workers.connection import Limits
from shmq.workers.jail import Answer, Jail, JailLimits
from shmq.workers.registrar import monotonic_ms
from shmq.workers.sockets import SocketServer

MIB = 1 << 20
WAT_BODY_A = b"""
(module
  (memory (export "memory") 2)
  (func (export "allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "matches") (param $properties i32) (param $size i32) (param $body i32) (param $body_size i32) (result i32)
    (i32.eq (i32.load8_u (local.get $body)) (i32.const 65))))
"""
"""Matches where the body begins with an A."""


class Inmate:
    """One filter in its jail."""

    def __init__(self, source, *, memory_bytes=256 * MIB, message_ms=1000, fuel=10_000_000):
        self._server = SocketServer([], Limits(1, 1, 1, 1), structlog.get_logger())
        limits = JailLimits(memory_bytes, message_ms, fuel)
        self.jail = Jail(source if isinstance(source, bytes) else source.encode(), limits, self._server)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.jail.close()
        self._server.close_all()

    def begin(self):
        """Have it take the filter on; return what it says."""
        answers = []
        self.jail.begin(answers.append, monotonic_ms())
        return self._wait(answers)

    def ask(self, *messages):
        """Return which of the messages match, or what went wrong."""
        answers = []
        self.jail.ask(messages, answers.append, monotonic_ms())
        answer = self._wait(answers)
        return answer.failure or list(answer.verdicts)

    def _wait(self, answers) -> Answer:
        while not answers:
            self._server.poll(min(100, max(0, self.jail.due_ms - monotonic_ms())), monotonic_ms)
            self.jail.tick(monotonic_ms())
        return answers[0]


def message(body=b"x", properties=b"", sys_flag=0) -> Parts:
    """A message as a jail gets it."""
    facts = b'{"topic":"T","queue_id":1,"queue_offset":2,"born_ms":3,"store_ms":4,"reconsume_times":0,"sys_flag":%d}'
    return Parts(facts % sys_flag, properties, body)
