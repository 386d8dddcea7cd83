"""One producer's way out: its templates and queues, and what is done where a kernel could not go on.

A kernel answers FULL, LOST, STALE or ILLEGAL, having published whole submissions only. Here that is overcome:
room is waited for, a restarted broker attached to, the topic looked at again; then the kernel goes on where it
stopped.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from shmq.broker.questions import ask_topic_view
from shmq.errors import RefusedError, RingFullError, WaitTimeoutError
from shmq.local import desk as d
from shmq.local import submit
from shmq.local.acknowledgement import Acknowledgement, SendResult
from shmq.local.answers import refusal
from shmq.local.session import Session
from shmq.local.templates import Queues, Template
from shmq.ring import doorbell
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import PERM_WRITE

_TEMPLATES_MAX: Final = 1024
_SERIAL: Final = d.SERIAL // 8
_ANSWERED: Final = d.ANSWERED // 8
_LAST_STATUS: Final = d.LAST_STATUS // 8
_LAST_QUEUE: Final = d.LAST_QUEUE // 8
_LAST_OFFSET: Final = d.LAST_OFFSET // 8
_LAST_POSITION: Final = d.LAST_POSITION // 8
_LAST_STORE_MS: Final = d.LAST_STORE_MS // 8


class Outgoing:
    """Sends to one topic by one session.

    Attributes:
        session: the session.
        template: of messages that say nothing of their own.
    """

    def __init__(self, session: Session, topic: str, queue_id: int, text: bytes) -> None:
        """Have the topic made, if need be.

        Args:
            session: to send by.
            topic: where to.
            queue_id: where all go, or ANY_QUEUE.
            text: the properties of messages that say nothing of their own.
        """
        self.session = session
        self._topic = topic
        self._queue_id = queue_id
        self._others: dict[bytes, Template] = {}
        self.template = Template(session.desk, topic.encode(), text, queue_id)
        session.templates.add(self.template)
        self._life = 0
        self._queues = Queues(np.zeros(0, dtype=np.int64), -1)
        self.refresh(self.template)

    @property
    def queue_count(self) -> int:
        """How many queues there are to write to."""
        return len(self._queues.slots)

    def template_for(self, text: bytes) -> Template:
        """The template of messages with these properties."""
        found = self._others.get(text)
        if found is None:
            if len(self._others) >= _TEMPLATES_MAX:
                self._others.clear()
            found = Template(self.session.desk, self._topic.encode(), text, self._queue_id)
            self.session.templates.add(found)
            self._fit(found)
            self._others[text] = found
        return found

    def carry_out(self, attempt: Callable[[], int], template: Template, timeout_s: float | None) -> int:
        """Attempt until it succeeds; return what the last attempt answered.

        Raises:
            RingFullError: there was no room in time.
            RefusedError: the message cannot be sent.
            BrokerLostError: the broker went, with messages in flight.
        """
        self.session.ready()
        while True:
            outcome = attempt()
            if outcome == submit.FULL:
                outcome = self._wait_for_room(attempt, timeout_s)
            if outcome >= 0:
                return outcome
            if outcome == submit.ILLEGAL:
                raise RefusedError(
                    ResponseCode.MESSAGE_ILLEGAL,
                    f"a body has 1 to {template.body_bytes_max} bytes here; larger ones need a larger "
                    "message_bytes_max or local_submit_ring_bytes",
                )
            self.session.ready()
            self.refresh(template)

    def refresh(self, template: Template) -> None:
        """Bring a template up to date with the broker.

        Raises:
            RefusedError: the topic does not exist and is not made, or may not be written to.
        """
        session = self.session
        if self._life != session.lives:
            self._life = session.lives
            self._others = {}
            self._queues = Queues(self._queues.slots, -1)
            self._fit(self.template)
            if template is not self.template:
                self._fit(template)
        if self._queues.changes != session.metadata:
            self._queues = self._ask_queues()
        template.take(self._queues)

    @property
    def is_sync(self) -> bool:
        """Whether a message counts as stored only when it is on disk."""
        return self.session.attachment.terms.is_sync_flush

    def expect(
        self, template: Template, body_bytes: int, callback: Callable[[Acknowledgement], None] | None
    ) -> Acknowledgement:
        """An acknowledgement of the submission that was published last, one of one message."""
        session = self.session
        acknowledgement = Acknowledgement(self._wait_for)
        if callback is not None:
            acknowledgement.add_done_callback(callback)
        size_bytes = template.record_bytes + body_bytes
        serial, queue_id = session.words[_SERIAL], session.words[_LAST_QUEUE]
        session.answers.expect(serial, queue_id, size_bytes, acknowledgement)
        return acknowledgement

    def last_result(self) -> SendResult:
        """Where the message lies that was answered last."""
        words = self.session.words
        return SendResult(
            words[_LAST_QUEUE],
            words[_LAST_OFFSET],
            words[_LAST_POSITION],
            words[_LAST_STORE_MS],
            self.session.host,
        )

    def wait_last(self, body_bytes: int, timeout: float | None) -> SendResult:
        """Wait for the message that was published last, of whose answer nobody is told."""
        session = self.session
        words = session.words
        serial = words[_SERIAL]

        def is_answered() -> bool:
            session.poll()
            return bool(words[_ANSWERED] >= serial)

        if not session.wait(is_answered, timeout):
            raise WaitTimeoutError(f"the writer has not answered within {timeout} s")
        if words[_LAST_STATUS] != 0:
            session.forget_refusal()
            raise refusal(words[_LAST_STATUS])
        result = self.last_result()
        marks = session.attachment.memory.watermarks
        end = result.position + self.template.record_bytes + body_bytes
        if not session.wait(lambda: marks.confirmed >= end, timeout, doorbell.FLUSHED):
            raise WaitTimeoutError(f"the message is not on disk after {timeout} s")
        return result

    def _wait_for(self, acknowledgement: Acknowledgement, timeout: float | None) -> None:
        session = self.session
        session.check_owner()

        def look() -> bool:
            session.poll()
            return acknowledgement.done()

        if not session.wait(look, timeout, doorbell.FLUSHED if self.is_sync else 0):
            raise WaitTimeoutError(f"the writer has not answered within {timeout} s")

    def _fit(self, template: Template) -> None:
        template.fit(self.session.attachment.terms, self.session.submit_bytes)
        if self._queues.changes >= 0:
            template.take(self._queues)

    def _wait_for_room(self, attempt: Callable[[], int], timeout_s: float | None) -> int:
        outcomes = [submit.FULL]

        def look() -> bool:
            self.session.poll()
            outcomes[0] = attempt()
            return outcomes[0] != submit.FULL

        if not self.session.wait(look, timeout_s):
            raise RingFullError(
                f"the broker's writer has made no room within {timeout_s} s; nothing more was sent"
            )
        return outcomes[0]

    def _ask_queues(self) -> Queues:
        queue_nums = self.session.attachment.terms.default_topic_queue_nums
        view, changes = self.session.ask(ask_topic_view(self._topic, queue_nums, make=True))
        if not view["permission"] & PERM_WRITE or view["write"] < 1:
            raise RefusedError(ResponseCode.NO_PERMISSION, f"the topic {self._topic!r} may not be written to")
        if self._queue_id >= view["write"]:
            raise RefusedError(
                ResponseCode.INVALID_PARAMETER,
                f"the topic {self._topic!r} has {view['write']} queues to write to, there is no {self._queue_id}",
            )
        return Queues(np.array(view["slots"][: view["write"]], dtype=np.int64), changes)
