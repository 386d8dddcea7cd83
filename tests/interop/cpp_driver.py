"""The C++ client (PyPI `rocketmq`) in a process of its own: the twin of the Java driver, same arguments, same lines.

`cpp_driver.py COMMAND [--name value]...` with the commands `produce` and `consume-push`. It prints one JSON object a
line and ends with a `result`; on stdin it takes `stop`. Exit code 0 where nothing it saw was wrong, 1 otherwise.

Bodies are text here: the client hands them out as C strings, which end at the first NUL.
"""

import base64
import collections
import json
import os
import sys
import threading
import time
from typing import Final

import numpy as np
from rocketmq.client import Message, Producer, PushConsumer, RecvMessage, SendStatus

from tests.support.body import PROPERTY, body_of, head_of, keys_of, property_of, tag_of

_REPORT_INTERVAL_S: Final = 0.1
_FAULTS_KEPT: Final = 20
_TIMEOUT_MS: Final = 20_000


class Tally:
    """What was received of one run: each body compared, each number counted."""

    def __init__(self, options: dict[str, str]) -> None:
        self._run = options["run"]
        self._topic = options["topic"]
        self._shards = int(options.get("shards", "0"))
        self._lock = threading.Lock()  # the client calls from several threads of its own
        self._seen: set[int] = set()
        self._offsets: dict[int, set[int]] = collections.defaultdict(set)
        self._last_of_shard: dict[int, int] = {}
        self._doubled: list[int] = []
        self._faults: list[str] = []
        self._received = self._foreign = self._inversions = 0

    def accept(self, message: RecvMessage) -> None:
        """Count one delivery."""
        body = message.body
        with self._lock:
            try:
                run, number = head_of(body)
            except ValueError:
                self._faults.append(f"a body that is none of ours: {body[:80]!r}")
                return
            if message.reconsume_times == 0:
                self._offsets[message.queue_id].add(message.queue_offset)
            if run != self._run:
                self._foreign += 1
                return
            self._compare(message, body, number)
            self._received += 1
            if number in self._seen:
                self._doubled.append(number)
            self._seen.add(number)
            if self._shards:
                shard = number % self._shards
                self._inversions += self._last_of_shard.get(shard, -1) >= number
                self._last_of_shard[shard] = number

    @property
    def is_clean(self) -> bool:
        """True where all was as sent and in the order promised."""
        return not self._faults and not self._inversions

    def progress(self) -> dict[str, object]:
        """Return the counts, and which numbers were seen as a little-endian bit set."""
        with self._lock:
            bits = np.zeros(max(self._seen, default=-1) + 1, dtype=np.uint8)
            bits[list(self._seen)] = 1
            seen = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
            return {"received": self._received, "distinct": len(self._seen), "seen": seen}

    def result(self) -> dict[str, object]:
        """Return all that was counted."""
        queues = {
            str(queue): {"first": min(offsets), "last": max(offsets), "distinct": len(offsets)}
            for queue, offsets in sorted(self._offsets.items())
        }
        return {
            **self.progress(),
            "doubled": self._doubled,
            "foreign": self._foreign,
            "fault_count": len(self._faults),
            "faults": self._faults[:_FAULTS_KEPT],
            "inversions": self._inversions,
            "queues": queues,
        }

    def _compare(self, message: RecvMessage, body: bytes, number: int) -> None:
        pairs = (
            ("body", body_of(self._run, number, binary=False), body),
            ("topic", self._topic, message.topic),
            ("keys", keys_of(number).encode(), message.keys),
            ("tags", tag_of(number).encode(), message.tags),
            ("property", property_of(number).encode(), message.get_property(PROPERTY)),
        )
        for what, sent, got in pairs:
            if sent != got:
                self._faults.append(f"{what} of {number} is {got!r}, not {sent!r}")


def main() -> int:
    """Do what the arguments say."""
    command, *pairs = sys.argv[1:]
    options = {pairs[i].removeprefix("--"): pairs[i + 1] for i in range(0, len(pairs), 2)}
    commands = {"produce": _produce, "consume-push": _consume_push}
    return 0 if commands[command](options) else 1


def _produce(options: dict[str, str]) -> bool:
    mode = options["mode"]
    producer = Producer(options["group"], timeout=_TIMEOUT_MS)
    producer.set_namesrv_addr(options["namesrv"])
    producer.start()
    _report("ready")
    shards = int(options.get("shards", "0"))
    first, count = int(options.get("first", "0")), int(options["count"])
    failures: list[str] = []
    sent = 0
    started = time.monotonic()
    for number in range(first, first + count):
        message = _message(options, number)
        if mode == "oneway":
            producer.send_oneway(message)
        else:
            if mode == "ordered":
                outcome = producer.send_orderly(message, number % shards, retry_times=0)
            else:
                outcome = producer.send_sync(message)
            if outcome.status != SendStatus.OK or not outcome.msg_id:
                failures.append(f"{number}: {outcome}")
                continue
        sent += 1
    elapsed_ms = int(1000 * (time.monotonic() - started))
    producer.shutdown()
    _report(
        "result",
        sent=sent,
        failure_count=len(failures),
        failures=failures[:_FAULTS_KEPT],
        elapsed_ms=elapsed_ms,
    )
    return not failures


def _message(options: dict[str, str], number: int) -> Message:
    message = Message(options["topic"])
    message.set_keys(keys_of(number))
    message.set_tags(tag_of(number))
    message.set_property(PROPERTY, property_of(number))
    message.set_body(body_of(options["run"], number, binary=False))
    return message


def _consume_push(options: dict[str, str]) -> bool:
    stopped = threading.Event()
    threading.Thread(target=_await_stop, args=(stopped,), daemon=True).start()
    tally = Tally(options)

    consumer = PushConsumer(options["group"], orderly=options.get("orderly") == "true")
    consumer.set_namesrv_addr(options["namesrv"])
    consumer.set_thread_count(4)
    consumer.subscribe(options["topic"], tally.accept, options.get("expression", "*"))
    consumer.start()
    _report("ready")
    while not stopped.wait(_REPORT_INTERVAL_S):
        _report("progress", **tally.progress())
    consumer.shutdown()
    _report("result", **tally.result())
    return tally.is_clean


def _await_stop(stopped: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    stopped.set()  # the end of stdin says the same: no driver outlives its parent


def _report(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)  # the library's static destructors race its own threads at a normal exit
