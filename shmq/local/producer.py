"""LocalProducer: sends to a broker of this host through shared memory.

    with LocalProducer("broker-a", "orders") as producer:
        producer.send(b"one")                        # published when it returns
        producer.send_many([b"two", b"three"])
        producer.send_array(np.zeros((1000, 128), dtype=np.uint8))
        producer.flush()                             # all of it committed

`send` returns when the record lies in the ring to the broker's writer: from there on it is committed whatever
becomes of this process. What must be known to be stored is sent with `ack=True`, by `send_wait`, or followed by
`flush`. A full ring makes the sender wait, then raise. A producer belongs to the thread that made it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shmq.errors import SessionMisuseError, WaitTimeoutError
from shmq.local import desk as d
from shmq.local import native, submit
from shmq.local.acknowledgement import Acknowledgement, SendResult
from shmq.local.outgoing import Outgoing
from shmq.local.rows import Rows, joined, rows_of
from shmq.local.session import Session
from shmq.local.templates import Template, properties_text
from shmq.local.waiting import Wait
from shmq.memory.block import address_of
from shmq.ring import doorbell

Body = bytes | bytearray | memoryview
Level = Literal["appended", "flushed", "dispatched"]
SEND_TIMEOUT_S: Final = 10.0

_DONE: Final = d.DONE // 8
_IS_UNTOLD: Final = d.IS_UNTOLD // 8
_THREAD: Final = d.THREAD // 8
assert len(SendResult._fields) == native.RESULT_FIELDS


class _Claim(NamedTuple):
    """Room in the ring that the caller fills."""

    template: Template
    position: int
    queue_id: int
    body: memoryview


class LocalProducer:
    """Sends messages of one topic.

    Attributes:
        topic: the topic.
        session: the session that it sends by.
    """

    def __init__(  # noqa: PLR0913 - what a producer may be told
        self,
        broker: str | Session,
        topic: str,
        queue_id: int | None = None,
        *,
        tags: str | None = None,
        keys: str | None = None,
        properties: Mapping[str, str] | None = None,
        send_timeout_s: float | None = SEND_TIMEOUT_S,
        wait: str = Wait.FUTEX,
        reattach: bool = True,
    ) -> None:
        """Attach, and have the topic made if the broker makes topics by itself.

        Args:
            broker: its name, or a session of this thread to share.
            topic: where to send.
            queue_id: the queue; None: each message, or batch, goes to the next one.
            tags: of each message that says nothing else, as are keys and properties.
            keys: see tags.
            properties: see tags.
            send_timeout_s: how long a send waits for room; None: for ever.
            wait: how to wait: spin, yield, sleep or futex.
            reattach: whether to go on by itself when the broker was restarted.
        """
        self.topic = topic
        self._defaults = (tags, keys, properties)
        text = properties_text(tags, keys, properties)
        self._timeout_s = send_timeout_s
        self._claim: _Claim | None = None
        self._owns_session = not isinstance(broker, Session)
        if isinstance(broker, Session):
            self.session = broker
        else:
            self.session = Session(broker, wait=wait, reattach=reattach, what=f"producer of {topic}")
        queue = submit.ANY_QUEUE if queue_id is None else queue_id
        try:
            self._outgoing = Outgoing(self.session, topic, queue, text)
        except BaseException:
            self.close()
            raise
        self._template = self._outgoing.template
        if native.IS_THERE:
            self._make_builtins()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def queue_count(self) -> int:
        """How many queues the topic has to write to, as far as this producer has looked."""
        return self._outgoing.queue_count

    @property
    def in_flight(self) -> int:
        """How many messages of the session are sent and not answered yet."""
        return self.session.in_flight

    def send(  # noqa: PLR0913 - what a message may say of itself
        self,
        body: Body,
        *,
        tags: str | None = None,
        keys: str | None = None,
        properties: Mapping[str, str] | None = None,
        queue_id: int | None = None,
        key: str | bytes | None = None,
        ack: bool = False,
        callback: Callable[[Acknowledgement], None] | None = None,
    ) -> Acknowledgement | None:
        """Publish a message to the broker's writer.

        Called with bytes alone it is a builtin that takes well below a microsecond.

        Args:
            body: what it says; not empty.
            tags: its tags; None: the producer's, as for keys and properties.
            keys: by which it can be found.
            properties: others.
            queue_id: its queue; None: the producer's choice.
            key: messages of one key go to one queue.
            ack: whether to return an acknowledgement.
            callback: called with the acknowledgement, in this thread, when it is done.

        Raises:
            RingFullError: there was no room in time; it is not sent.
            RefusedError: it cannot be sent.
            BrokerLostError: the broker stopped; messages in flight are stored or not. The next call attaches again.
            SessionMisuseError: this is not the producer's thread, or it is closed.
        """
        template = self._template_for(tags, keys, properties)
        content = np.frombuffer(body, dtype=np.uint8)
        queue = self._queue(queue_id, key)
        wanted = 1 if ack or callback is not None else 0
        address, size_bytes = address_of(content), len(content)
        self._outgoing.carry_out(
            lambda: submit.submit_one(template.address, address, size_bytes, queue, wanted),
            template,
            self._timeout_s,
        )
        return self._outgoing.expect(template, size_bytes, callback) if wanted else None

    def send_many(self, bodies: Iterable[Body]) -> int:
        """Publish messages, by 64 to a queue; return how many they are. A list of bytes goes fastest.

        Where it raises, those before are sent: see `in_flight`.
        """
        items = bodies if isinstance(bodies, list) else list(bodies)
        self._words_of_template[_DONE] = 0
        outcome = self._push_list(items)
        if outcome == 0:
            return len(items)
        if outcome in {native.NO_BYTES, native.NOT_OURS}:
            self.session.ready()
            self._send_rows(joined(items[self._words_of_template[_DONE] :]), submit.ANY_QUEUE)
        else:
            self._outgoing.carry_out(lambda: self._push_list(items), self._template, self._timeout_s)
        return len(items)

    def send_array(
        self,
        array: NDArray[Any],
        offsets: Sequence[int] | NDArray[Any] | None = None,
        *,
        queue_id: int | None = None,
    ) -> int:
        """Publish the messages that an array holds; return how many they are.

        Args:
            array: two-dimensional: each row is a body, whatever its type; one-dimensional and structured: each
                element is one; one-dimensional bytes with offsets: each body ends where the next begins.
            offsets: count + 1 numbers that do not decrease.
            queue_id: the queue; None: the producer's choice, by batches of 64.
        """
        rows = rows_of(array, offsets)
        self._send_rows(rows, self._queue(queue_id, None))
        return rows.count

    def send_wait(self, body: Body, timeout: float | None = SEND_TIMEOUT_S) -> SendResult:
        """Send a message and wait until it is stored, under SYNC_FLUSH on disk; return where.

        Called with bytes alone it is a builtin.

        Raises:
            WaitTimeoutError: nobody can say so far; otherwise as `send`.
        """
        self.session.check_owner()
        words = self._words_of_template
        is_sent, words[_IS_UNTOLD] = words[_IS_UNTOLD], 0
        if is_sent and self.session.words[_THREAD] != d.NOBODY:  # else left by a call that a signal broke off
            return self._outgoing.wait_last(len(body), timeout)
        acknowledgement = LocalProducer.send(self, body, ack=True)
        assert acknowledgement is not None, "it was asked for"
        return acknowledgement.result(timeout)

    def claim(
        self,
        size_bytes: int,
        *,
        queue_id: int | None = None,
        tags: str | None = None,
        keys: str | None = None,
    ) -> memoryview:
        """Room for the body of a message, where the writer takes it from: fill it, then `commit` or `abort`.

        Nothing else can be sent by the session meanwhile. After `commit` the memory is the writer's: who still
        holds something of it must not write there.
        """
        template = self._template_for(tags, keys, None)
        address = template.address

        def attempt() -> int:
            checked = submit.check(address)
            return submit.claim(address, size_bytes) if checked == 0 else checked

        queue = self._queue(queue_id, None)
        position = self._outgoing.carry_out(attempt, template, self._timeout_s)
        payload = submit.claimed_payload(address, position)
        memory = self.session.attachment.memory
        body = memory.writable(submit.body_address(address, payload), size_bytes)
        self._claim = _Claim(template, position, queue, body)
        self.session.hold()
        return body

    def commit(self, *, ack: bool = False) -> Acknowledgement | None:
        """Publish the message whose body was claimed."""
        claim = self._end_claim()
        size_bytes, address = len(claim.body), claim.template.address
        life = self.session.lives
        wanted = 1 if ack else 0

        def attempt() -> int:
            if self.session.lives != life:
                raise SessionMisuseError(
                    "the broker was restarted, and the room that was claimed is gone with it"
                )
            return submit.publish_claimed(address, claim.position, claim.queue_id, size_bytes, wanted)

        self._outgoing.carry_out(attempt, claim.template, self._timeout_s)
        return self._outgoing.expect(claim.template, size_bytes, None) if ack else None

    def abort(self) -> None:
        """Give claimed room back; nothing was sent."""
        self._end_claim()

    def poll(self) -> int:
        """Take in answers, call callbacks; return how many messages were answered."""
        self.session.ready()
        return self.session.poll()

    def flush(self, level: Level = "appended", timeout: float | None = None) -> None:
        """Wait until all that the session sent is in the log; `flushed`: on disk; `dispatched`: with consumers.

        Raises:
            WaitTimeoutError: it is not, in time.
            RefusedError: the broker did not store some, since the last flush, whose answers nobody waited for.
            BrokerLostError: the broker stopped.
        """
        session = self.session
        session.ready()
        if not session.wait(self._is_answered, timeout):
            raise WaitTimeoutError(f"{session.in_flight} messages are not in the log after {timeout} s")
        marks = session.attachment.memory.watermarks
        end = marks.appended
        if level == "flushed":
            is_there = session.wait(lambda: marks.flushed >= end, timeout, doorbell.FLUSHED)
        elif level == "dispatched":
            is_there = session.wait(lambda: marks.dispatched >= end, timeout, doorbell.DISPATCHED)
        else:
            is_there = True
        if not is_there:
            raise WaitTimeoutError(f"the log is not {level} up to {end} after {timeout} s")
        session.poll()
        session.raise_refusals()

    def close(self) -> None:
        """Let a session of its own go; what was sent is committed. Twice is once."""
        if self._claim is not None:
            self.abort()
        if self._owns_session:
            self.session.close()

    def _make_builtins(self) -> None:
        """Put builtins in the place of methods; they keep this alive, as they must."""
        own = native.Own(self._template.address)
        own.keeper = (self, objects := (self.send, self.send_wait, SendResult))
        self._template.set_objects(*objects)
        self.__dict__["send"] = native.make_send(own)
        self.__dict__["send_wait"] = native.make_send_wait(own)
        self.__dict__["_push_list"] = native.make_push_list(own)

    def _push_list(self, _bodies: list[Any]) -> int:
        """Where there are no builtins."""
        return native.NO_BYTES

    @property
    def _words_of_template(self) -> memoryview:
        return self._template.words

    def _template_for(
        self, tags: str | None, keys: str | None, properties: Mapping[str, str] | None
    ) -> Template:
        if tags is None and keys is None and properties is None:
            return self._template
        default_tags, default_keys, default_properties = self._defaults
        text = properties_text(
            default_tags if tags is None else tags,
            default_keys if keys is None else keys,
            default_properties if properties is None else properties,
        )
        return self._outgoing.template_for(text)

    def _queue(self, queue_id: int | None, key: str | bytes | None) -> int:
        if key is not None:
            return crc32(key.encode() if isinstance(key, str) else key) % self.queue_count
        if queue_id is None:
            return submit.ANY_QUEUE
        if not 0 <= queue_id < self.queue_count:
            raise ValueError(
                f"the topic {self.topic!r} has {self.queue_count} queues, there is no {queue_id}"
            )
        return queue_id

    def _send_rows(self, rows: Rows, queue: int) -> None:
        template = self._template
        template.words[_DONE] = 0
        self._outgoing.carry_out(
            lambda: submit.submit_rows(
                template.address, rows.address, rows.stride, rows.offsets_address, rows.count, queue
            ),
            template,
            self._timeout_s,
        )

    def _is_answered(self) -> bool:
        self.session.poll()
        return self.session.in_flight == 0 and not len(self.session.answers)

    def _end_claim(self) -> _Claim:
        self.session.check_owner()
        claim, self._claim = self._claim, None
        if claim is None:
            raise SessionMisuseError("there is no claim to commit or abort")
        self.session.release()
        return claim
