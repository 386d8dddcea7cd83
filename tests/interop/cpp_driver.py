"""The C++ client (PyPI `rocketmq`) in a process of its own: the twin of the Java driver, same arguments, same lines.

`cpp_driver.py COMMAND [--name value]...` with the commands `produce`, `produce-timed`, `consume-push` and
`consume-pull`. It prints one JSON object a line and ends with a `result`; on stdin consumers take `stop`. Exit code 0
where nothing it saw was wrong, 1 otherwise.

Bodies are text here: the client hands them out as C strings, which end at the first NUL. Its C interface, which is
all that the package has, knows no transactions, SQL92 expressions, request-reply, namespaces and traces. Its batches
say so by `batch=1`, which is no `true` to RocketMQ: its brokers store each as one message.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

from rocketmq.client import PullConsumer, PushConsumer, RecvMessage
from rocketmq.exceptions import RocketMQException
from rocketmq.ffi import MessageModel

from tests.interop.cpp_producing import produce, produce_timed
from tests.interop.cpp_tally import Tally
from tests.support.body import head_of

_REPORT_INTERVAL_S: Final = 0.1
_CONSUMED, _LATER = 0, 1  # CConsumeStatus


def main() -> int:
    """Do what the arguments say."""
    command, *pairs = sys.argv[1:]
    options = {pairs[i].removeprefix("--"): pairs[i + 1] for i in range(0, len(pairs), 2)}
    commands: dict[str, Callable[[dict[str, str]], bool]] = {
        "produce": lambda options: produce(options, _report),
        "produce-timed": lambda options: produce_timed(options, _report),
        "consume-push": _consume_push,
        "consume-pull": _consume_pull,
    }
    return 0 if commands[command](options) else 1


def _consume_push(options: dict[str, str]) -> bool:
    stopped = _stop_when_told()
    tally = Tally(options)
    listener = _Listener(options, tally)
    model = MessageModel.BROADCASTING if options.get("broadcasting") == "true" else MessageModel.CLUSTERING
    consumer = PushConsumer(options["group"], orderly=options.get("orderly") == "true", message_model=model)
    consumer.set_namesrv_addr(options["namesrv"])
    consumer.set_thread_count(4)
    consumer.set_message_batch_max_size(
        1
    )  # of a batch the package hands on one after the other, and refuses all
    consumer.subscribe(options["topic"], tally.accept, options.get("expression", "*"))
    # In its place: what the package makes of a listener that fails counts as consumed.
    consumer._register_callback(listener)
    consumer.start()
    _report("ready")
    while not stopped.wait(_REPORT_INTERVAL_S):
        _report("progress", **tally.progress())
    consumer.shutdown()
    _report("result", **tally.result(), refused=listener.refused, retried=listener.retried)
    return tally.is_clean


class _Listener:
    """What is done with a message: counted, or refused.

    With `--fail-every K` the messages of which K divides the number are refused the first time they come, with
    `--refuse-every K` however often they come.
    """

    def __init__(self, options: dict[str, str], tally: Tally) -> None:
        self._tally = tally
        self._fail_every = int(options.get("fail-every", "0"))
        self._refuse_every = int(options.get("refuse-every", "0"))
        self._pause_s = int(options.get("listener-ms", "0")) / 1000
        self._lock = threading.Lock()
        self.refused = self.retried = 0

    def __call__(self, _consumer: int, handle: int) -> int:
        """Take a delivery."""
        message = RecvMessage(handle)
        number = _number_of(message)
        if self._pause_s:
            threading.Event().wait(self._pause_s)  # a listener that takes its time
        if self._refuse_every and number % self._refuse_every == 0:
            with self._lock:
                self.refused += 1
            return _LATER
        if self._fail_every and number % self._fail_every == 0:
            with self._lock:
                if message.reconsume_times == 0:
                    self.refused += 1
                    return _LATER
                self.retried += 1
        self._tally.accept(message)
        return _CONSUMED


def _number_of(message: RecvMessage) -> int:
    """The number of a message; 1, which nothing but 1 divides, where it is none of ours: the tally says so."""
    try:
        return head_of(message.body)[1]
    except ValueError:
        return 1


def _consume_pull(options: dict[str, str]) -> bool:
    stopped = _stop_when_told()
    tally = Tally(options)
    consumer = PullConsumer(options["group"])
    consumer.set_namesrv_addr(options["namesrv"])
    consumer.start()
    _report("ready")
    while not stopped.wait(_REPORT_INTERVAL_S):
        try:
            for message in consumer.pull(options["topic"], options.get("expression", "*")):
                tally.accept(message)
        except RocketMQException as failure:
            _report("repeated", reason=str(failure))  # it goes on where it was
        _report("progress", **tally.progress())
    consumer.shutdown()
    _report("result", **tally.result())
    return tally.is_clean


def _stop_when_told() -> threading.Event:
    """Return what is set when stdin says `stop`, or ends: no driver outlives its parent."""
    stopped = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                break
        stopped.set()

    threading.Thread(target=listen, daemon=True).start()
    return stopped


_output = threading.Lock()


def _report(event: str, **fields: object) -> None:
    with _output:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)  # the library's static destructors race its own threads at a normal exit
