"""Write docs/compatibility.md from the tables of requests and from what clients have shown; run it after a change.

    python tools/write_compatibility_page.py

`tests/unit/broker/test_compatibility_page.py` fails while the page in the repository is another.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from shmq.broker.requests import REQUESTS, Plane
from shmq.naming.requests import HANDLERS
from shmq.wire.codes import RequestCode

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PAGE: Final = DOCS / "compatibility.md"
RESULTS: Final = DOCS / "interop.json"
CLIENTS: Final = (
    "Java 4.9.8",
    "Java 5.5.0",
    "C++ 2.x",
    "mqadmin 5.3.3",
    "Java broker 5.3.3",
    "Java name server 5.3.3",
)
"""The columns of the table that come first, in this order."""

INTRODUCTION: Final = """\
# Compatibility

<!-- Written by tools/write_compatibility_page.py from the tables of requests and from interop.json; do not edit. -->

What of RocketMQ's remoting protocol is answered. A code that is not listed gets REQUEST_CODE_NOT_SUPPORTED (3), as
RocketMQ answers codes that it does not know. Both header encodings, JSON and ROCKETMQ, are read, and each request is
answered in its own.

"""

DIFFERENCES: Final = """\
## Where shmq differs on purpose

- A record that could never fit a file of the log is refused with MESSAGE_ILLEGAL; Java answers SUCCESS and loses it.
- A pull that waits and sees only messages that its filter leaves out waits to its own deadline and is then told how far
  it has been scanned; Java answers at its next check, within five seconds.
- A query by key keeps to its two times to the millisecond; Java's index knows whole seconds, so its broker leaves out
  messages of the first second and gives some that are up to a second too late. A message is given once, however often
  it was indexed, and an answer holds no more of the newest messages than a frame that clients read.
- A dump of a queue (QUERY_CONSUME_QUEUE) gives at most 4,096 entries, and the queue's bounds even where it has none at the
  offset that was asked for; Java then gives no body, on which its tool fails.
- Store timestamps never go back, even if the clock does.
- Recovery repairs what Java leaves: missing queues are rebuilt from the log, and stale records behind a truncation cannot
  come back to life.
- "No topic route info" keeps Java's sentence and goes on to say which of the possible causes it is.
- Retention: a file is deleted whoever reads it, since what is mapped outlives its name; so
  `destroyMapedFileIntervalForcibly` and `redeleteHangedFileInterval` mean nothing. The disks are looked at when the broker
  starts, not a minute later. The file in which the log ends stays, and so does what is not flushed, dispatched and indexed.
  A queue keeps its newest file, and with that its offset, when its last message is gone: Java removes such a queue where
  `cleanExpiredCQ` asks for it, and begins it at 0 again. What `cleanUnusedTopic` deletes of a topic whose messages are still
  in the log is built again if the broker starts anew.
- Transactions: the first decision stands. RocketMQ writes down what is decided up to three seconds late, so a crash, a
  commit that comes twice, or an answer to a check that crosses the commit may deliver a message twice there; here a half
  message has one final record at most, whichever process is killed when. (What RocketMQ's broker has committed without
  writing it down before it was killed is not found out here either.) An END_TRANSACTION that says UNKNOWN and wants an
  answer gets SUCCESS, not none. A half message's delay is left out, as RocketMQ's clients do; its broker would lose the
  message. What a consumer sends back to be tried again begins no transaction, even among the dead letters. Copies of a half
  message that is immune for longer do not count as checks, copies keep the message's flag, and RESUME_CHECK_HALF_MESSAGE
  refuses what is decided.
- SQL92 filters (`enablePropertyFilter`) understand what RocketMQ's own parser and evaluation do, held to them by thousands
  of recorded answers. A pull that brings an expression of its own that makes no sense is refused with
  SUBSCRIPTION_PARSE_FAILED; Java then lets every message pass. Why an expression is refused is said in our words. Refused besides: an expression of more than 65,536
  characters, of more than 256 properties, or that nests deeper than 200 levels (words joined by AND or OR are one). A
  read looks at no more than 4,096 messages, whatever a client asks for.
- A message with a moment of its own (TIMER_DELIVER_MS, TIMER_DELAY_MS, TIMER_DELAY_SEC) comes at that moment, or up
  to 50 ms after the begin of its slot; Java delivers a slot of its wheel, a second by default, when that is over. What
  Java keeps at 0 in a unit of `timerlog`, its last 8 bytes, says here what became of the message; all else of the files
  is Java's. So a delivery is not repeated after a kill; a Java broker would repeat those of the slots it finds begun.
- A delivery that fails is tried until it succeeds, as Java's with `timerEnableRetryUntilSuccess`; Java drops it after three.
- Retention deletes no file of the log that holds a message that waits in the wheel; Java may lose it when a disk fills up.
- A recall is refused where it was stored more than 20 ms after the slot of its message began; one that succeeded is heeded
  even if that was in the last moment. In a batch a moment is refused with MESSAGE_ILLEGAL; Java takes it and never delivers.
- Class filters run on a filter server that an operator starts (`class-filters.md`); the broker starts none itself. They are
  Python or WebAssembly: Java sources are refused. A Java client that subscribes by a class finds no filter
  server where there is none, and pulls nothing.
- A client is listed once in its group, even while an old connection of its own is still open.
- A group without offsets begins a young topic at its first message while that is in memory: that it is, is told by how far
  it lies from the log's end (`accessMessageInMemoryMaxRatio`), as in brokers of 4.x; those of 5.3 ask the system.
- The embedded name server keeps its own broker's routes while the conductor, whose connection it is, is replaced. A name
  server elsewhere, Java's or ours, drops them when that connection closes, until the next conductor has registered.
- Pop: what is out lies in one table (`pop/pop.db`), and neither in the revive topics nor in `consumerOrderInfo.json`; a Java
  broker that opens the store does not know what was out at that moment, and does not give it again: let it come to its end
  first. A message that was not acknowledged comes again when its time is over,
  not two to three seconds later. It goes to the group's dead letters after the group's retryMaxTimes
  (`pop_dead_letter_enable`), where Java tries it for ever. Hiding a message anew of which the receipt is dead answers
  NO_MESSAGE, where Java hides it and gives it twice. An acknowledgement of a queue in order that was reset changes
  nothing, where Java commits the offset behind it. `timerWheelEnable=false` does not forbid pop. POLLING_INFO and the limits
  of waiting pops count those of one network worker. QUERY_ASSIGNMENT knows the queues of this broker alone: a topic that
  several brokers serve is to be rebalanced by its clients.
- A reset of offsets by the clients (`useServerSideResetOffset=false`) tells each client in the form that its own library
  reads; Java takes the form of the administrator's library. What a group commits by a pull that is told of a reset does
  not count; Java lets it overwrite the reset until the client has begun anew.
- A reply (SEND_REPLY_MESSAGE) is stored with its flags, so that a compressed one can be read; Java stores 0.
- Sends are refused with SYSTEM_BUSY as they come only while the writer is there and stands still
  (`writer_busy_ms_max`); what lies in its ring already is stored all the same, so that a producer whose time is over may
  find its message stored twice, once by each try.

## Not built yet

| what | what happens instead |
| --- | --- |
| bit maps for SQL92 filters (`enableConsumeQueueExt`, `enableCalcFilterBitMap`) | kept in files of RocketMQ's layout, and used when pulls are answered by an expression of a heartbeat. After a start of the broker or its conductor, messages stored before are asked themselves, whatever their bit maps say |
| filters of colocated consumers | by tags only |
| flow control of a slot of the timer wheel (`timerCongestNumEachSlot`, without a limit by default) | no send is refused for it |
| PEEK_MESSAGE and POP_ROLLBACK | REQUEST_CODE_NOT_SUPPORTED |
| replication, controller, ACL, TLS | absent; a slave role is refused at the start, a TLS hello closes its connection |
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_shown(), DIFFERENCES, *_broker(), "", *_naming(), ""])


def results() -> dict[str, dict[str, str]]:
    """Return what the last runs have shown: by feature and client, how the tests of both ended."""
    read: dict[str, dict[str, str]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return read


def _shown() -> Iterator[str]:
    shown = results()
    known = {client for row in shown.values() for client in row}
    columns = [*(each for each in CLIENTS if each in known), *sorted(known.difference(CLIENTS))]
    yield "## Clients that have done it"
    yield ""
    yield "`tests/interop` runs them, unmodified, with up to 10,000 messages and mostly a failure in the middle, every body"
    yield "compared. `make interop-table` writes down what passed (`docs/interop.json`), of which this table is made; `-`: not"
    yield "tried."
    yield ""
    yield f"| feature | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for feature, row in sorted(shown.items()):
        yield f"| {feature} | {' | '.join(row.get(client, '-') for client in columns)} |"
    yield ""
    yield "A Java broker or name server as the client: it opens our store, we open its own, or either registers with the other."
    yield ""
    yield "The C++ client is PyPI's `rocketmq` 0.4.4, through the C interface of its library. That has no transactions, SQL92"
    yield "expressions, request-reply, namespaces, message traces, queries, nor a choice of where a new group begins. It says"
    yield "`batch=1` of a batch, which is not `true` to RocketMQ: its broker, and so shmq, stores each batch as one message. A"
    yield "listener that refuses a message refuses all that the client had handed on together. When a connection breaks, the"
    yield "client waits half a minute for the answers to its pulls before it asks again."
    yield ""


def _broker() -> Iterator[str]:
    yield "## Requests of the broker"
    yield ""
    yield "DATA requests are answered by the network worker that got them, CONTROL requests by the conductor."
    yield ""
    yield "| code | name | answered by | VIP port | what |"
    yield "| --- | --- | --- | --- | --- |"
    for code, row in sorted(REQUESTS.items()):
        plane = "worker" if row.plane is Plane.DATA else "conductor"
        vip = "yes" if row.on_vip else "no"
        yield f"| {code} | {RequestCode(code).name} | {plane} | {vip} | {_meaning(row.handler)} |"


def _naming() -> Iterator[str]:
    yield "## Requests of the name server"
    yield ""
    yield "| code | name |"
    yield "| --- | --- |"
    for code in sorted(HANDLERS):
        yield f"| {int(code)} | {RequestCode(code).name} |"


def _meaning(handler: Callable[..., Any]) -> str:
    """The first sentence of a handler's docstring, without the codes or names in front."""
    sentence = (handler.__doc__ or "").strip().splitlines()[0].rstrip(".")
    front, separator, rest = sentence.partition(": ")
    is_label = bool(separator) and front == front.upper()
    return (rest if is_label else sentence).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
