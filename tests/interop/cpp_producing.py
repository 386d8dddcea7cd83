"""The producers of the C++ client: one message after the other, each acknowledged, or sent again where that is asked."""

import ctypes
import functools
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from rocketmq.client import Message, Producer, SendResult, SendStatus
from rocketmq.exceptions import RocketMQException, ffi_check
from rocketmq.ffi import dll

from tests.interop.cpp_tally import DUE_PROPERTY
from tests.support.body import PROPERTY, body_of, keys_of, property_of, tag_of

_FAULTS_KEPT: Final = 20
_IN_FLIGHT_MAX: Final = 256
_PROGRESS_EVERY: Final = 50
_TIMEOUT_MS: Final = 20_000
_LEVELS_MS: Final = (1000, 5000)


class Report(Protocol):
    """Tells the test a line."""

    def __call__(self, event: str, **fields: object) -> None:
        """Tell it."""


def produce(options: dict[str, str], report: Report) -> bool:
    """Send messages `first` to `first + count`; True where each was acknowledged."""
    producing = _Producing(options, report)
    first, count = int(options.get("first", "0")), int(options["count"])
    return producing.run(range(first, first + count))


def produce_timed(options: dict[str, str], report: Report) -> bool:
    """Send messages that are to come later, as the Java driver does; `TimedProducing.java` says which when."""
    producer = _start_producer(options)
    report("ready")
    sent = 0
    for number in range(int(options["count"])):
        message = _message(options, number)
        _delay(message, number, options)
        sent += producer.send_sync(message).status == SendStatus.OK
    producer.shutdown()
    report("result", sent=sent)
    return True


class _Producing:
    """Sends in one of several modes; with `--until-stored true` each again until it is acknowledged."""

    def __init__(self, options: dict[str, str], report: Report) -> None:
        self._options = options
        self._report = report
        self._shards = int(options.get("shards", "0"))
        self._until_stored = options.get("until-stored") == "true"
        self._tells_progress = options.get("progress") == "true"
        self._sent = self._repeated = 0
        self._ids: set[str] = set()
        self._failures: list[str] = []
        self._producer = _start_producer(options)

    def run(self, numbers: Sequence[int]) -> bool:
        self._report("ready")
        started = time.monotonic()
        mode = self._options["mode"]
        if mode == "oneway":
            for number in numbers:
                self._producer.send_oneway(_message(self._options, number))
                self._count()
        elif mode == "async":
            self._send_async(numbers)
        else:
            for number in numbers:
                self._send(mode, number)
        elapsed_ms = int(1000 * (time.monotonic() - started))
        self._producer.shutdown()
        self._report(
            "result",
            sent=self._sent,
            unique_ids=len(self._ids),
            repeated=self._repeated,
            failure_count=len(self._failures),
            failures=self._failures[:_FAULTS_KEPT],
            elapsed_ms=elapsed_ms,
        )
        return not self._failures

    def _send(self, mode: str, number: int) -> None:
        while failure := self._send_once(mode, number):
            if not self._until_stored:
                self._failures.append(f"{number}: {failure}")
                return
            self._repeat(number, failure)

    def _send_once(self, mode: str, number: int) -> str:
        """Send a message; say why it is not stored, or nothing."""
        message = _message(self._options, number)
        try:
            if mode == "ordered":
                return self._acknowledge(
                    self._producer.send_orderly(message, number % self._shards, retry_times=0)
                )
            return self._acknowledge(self._producer.send_sync(message))
        except RocketMQException as failure:
            return str(failure)

    def _acknowledge(self, outcome: SendResult) -> str:
        """Count what was acknowledged; say what is wrong with the answer, or nothing."""
        if outcome.status != SendStatus.OK or not outcome.msg_id:
            return str(outcome)
        self._ids.add(outcome.msg_id)
        self._count()
        return ""

    def _send_async(self, numbers: Sequence[int]) -> None:
        left = numbers
        while left:
            refused = self._refused_of(left)
            if not self._until_stored:
                self._failures += [f"{number}: {reason}" for number, reason in refused]
                return
            for number, reason in refused:
                self._repeat(number, reason)
            left = [number for number, _ in refused]

    def _refused_of(self, numbers: Sequence[int]) -> list[tuple[int, str]]:
        """Send all of them, some at a time; return those that were refused, and why, once all are answered."""
        refused: list[tuple[int, str]] = []
        free = threading.Semaphore(_IN_FLIGHT_MAX)
        answered = threading.Semaphore(0)
        lock = threading.Lock()  # answers come on threads of the client

        def conclude(number: int, outcome: SendResult | Exception) -> None:
            with lock:
                failure = str(outcome) if isinstance(outcome, Exception) else self._acknowledge(outcome)
                if failure:
                    refused.append((number, failure))
            free.release()
            answered.release()

        messages = [
            _message(self._options, number) for number in numbers
        ]  # the client does not keep them alive
        for number, message in zip(numbers, messages, strict=True):
            free.acquire()
            done = functools.partial(conclude, number)
            try:
                self._producer.send_async(message, done, done)
            except RocketMQException as failure:
                done(failure)
        for _ in numbers:
            answered.acquire()
        return refused

    def _repeat(self, number: int, reason: str) -> None:
        self._repeated += 1
        self._report("repeated", number=number, reason=reason)

    def _count(self) -> None:
        self._sent += 1
        if self._tells_progress and self._sent % _PROGRESS_EVERY == 0:
            self._report("progress", sent=self._sent)


def _start_producer(options: dict[str, str]) -> Producer:
    producer = Producer(options["group"], timeout=int(options.get("timeout-ms", _TIMEOUT_MS)))
    producer.set_namesrv_addr(options["namesrv"])
    if "compress-over" in options:  # the package has no method for it, and does not say what types it takes
        handle = ctypes.c_void_p(producer._handle)
        ffi_check(dll.SetProducerCompressMsgBodyOverHowmuch(handle, int(options["compress-over"])))
    producer.start()
    return producer


def _message(options: dict[str, str], number: int) -> Message:
    message = Message(options["topic"])
    message.set_keys(keys_of(number))
    message.set_tags(tag_of(number))
    message.set_property(PROPERTY, property_of(number))
    message.set_body(body_of(options["run"], number, binary=False))
    return message


def _delay(message: Message, number: int, options: dict[str, str]) -> None:
    now_ms = time.time_ns() // 1_000_000
    if options.get("form") == "level":
        level = number % len(_LEVELS_MS)
        message.set_delay_time_level(1 + level)
        message.set_property(DUE_PROPERTY, str(now_ms + _LEVELS_MS[level]))
        return
    after_ms = int(options["least-ms"]) + number * 37 % int(options["spread-ms"])
    after_s = after_ms // 1000 + 1
    name, value, due_ms = (
        ("TIMER_DELAY_MS", after_ms, now_ms + after_ms),
        ("TIMER_DELAY_SEC", after_s, now_ms + 1000 * after_s),
        ("TIMER_DELIVER_MS", now_ms + after_ms, now_ms + after_ms),
    )[number % 3]
    message.set_property(name, str(value))
    message.set_property(DUE_PROPERTY, str(due_ms))
