"""A session: one thread's way to the broker through shared memory, for as long as broker and process live.

It attaches when it is first needed. When the broker goes, what was in flight has an unknown fate: that is
raised once, as BrokerLostError; the next call attaches again, waiting a while for the broker to come back,
unless it was told not to. A session belongs to the thread that made it. In a forked child it is dead: the
child's kernels find NOBODY on the desk and ask Python, which refuses.
"""

import os
import threading
import time
import weakref
from typing import Any, Final, Self

import numpy as np
import orjson

from shmq.errors import (
    BrokerAbsentError,
    BrokerLostError,
    BrokerNotReadyError,
    RefusedError,
    SessionMisuseError,
    WaitTimeoutError,
)
from shmq.jit import compile_now
from shmq.local import desk as d
from shmq.local import submit
from shmq.local.answers import Answers, refusal
from shmq.local.attach import Attachment
from shmq.local.templates import Template, store_host
from shmq.local.waiting import Wait, Waiter, pause
from shmq.memory.block import address_of
from shmq.memory.words import load_word
from shmq.ring import doorbell, spsc
from shmq.shared import plan

ASK_SECONDS: Final = 10.0
ASK_AGAIN_SECONDS: Final = 1.0
REATTACH_SECONDS: Final = 30.0
SPINS: Final = 2000
_RETRY_SECONDS: Final = 0.05
_ASK: Final = 7  # Kind.ASK and Kind.ANSWERED of shmq/workers/letters.py, which are no part of the ways in
_ANSWERED: Final = 21
_SUBMIT, _COMPLETIONS, _UP, _DOWN = range(4)

_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()


class Session:
    """One session; producers and consumers of one thread may share it.

    Attributes:
        broker: the broker's name.
        words: the desk (`shmq/local/desk.py`).
        desk: its address.
        lives: how often it has attached.
        answers: what somebody waits to know.
        templates: of its producers, which are of no use in another life of the broker.
    """

    def __init__(
        self,
        broker: str,
        *,
        wait: str = Wait.FUTEX,
        reattach: bool = True,
        reattach_timeout_s: float = REATTACH_SECONDS,
        what: str = "session",
    ) -> None:
        """Attach to the broker of that name on this host.

        Args:
            broker: its name.
            wait: how to wait: spin, yield, sleep or futex.
            reattach: whether to attach again when the broker was restarted.
            reattach_timeout_s: how long to wait for it then.
            what: shown to people who look at the broker's sessions.
        """
        self.broker = broker
        self.lives = 0
        self.answers = Answers()
        self.templates: weakref.WeakSet[Template] = weakref.WeakSet()
        self._noted = np.zeros(d.ANSWERS_MAX, dtype=d.ANSWER)
        made = np.zeros(d.DESK_SIZE // 8, dtype=np.int64)
        self.words: memoryview = made.data  # an item of it costs a third of what one of the array does
        self.desk = address_of(made)
        self._what = what
        self._reattach = reattach
        self._reattach_timeout_s = reattach_timeout_s
        self._thread = threading.get_ident()
        self._pid = os.getpid()
        self._letters = 0
        self._refused = 0
        self._is_closed = False
        self._is_lost = False
        self._is_busy = False
        self._waiter = Waiter(Wait(wait), lambda: self.attachment.bell, self._check_broker)
        compile_now(submit.submit_one, submit.collect, submit.await_answer, doorbell.want, load_word)
        self.words[d.SPINS // 8] = SPINS
        self.words[d.ANSWERS // 8] = address_of(self._noted)
        self._attach()
        _sessions.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "attachment") and not self._is_closed:
            self.attachment.leave()

    @property
    def in_flight(self) -> int:
        """How many messages were sent and are not answered yet."""
        return int(self.words[d.MESSAGES // 8] - self.words[d.MESSAGES_ANSWERED // 8])

    @property
    def metadata(self) -> int:
        """The broker's count of changes of topics and groups."""
        return load_word(self.attachment.memory.sessions.metadata_address)

    def ready(self) -> None:
        """Make sure that this thread may go on, with a broker that is there.

        Raises:
            SessionMisuseError: it may not.
            BrokerLostError: the broker went, and messages were in flight; the next call attaches again.
            BrokerAbsentError: it has not come back in time.
        """
        self.check_owner()
        if self._is_busy:
            raise SessionMisuseError("a claim is open: commit it or abort it first")
        if self.attachment.is_running and not self._is_lost:
            return
        self._lose()
        if not self._reattach:
            raise BrokerAbsentError(f"the broker {self.broker!r} is gone")
        self._attach_again()

    def check_owner(self) -> None:
        """Raise SessionMisuseError unless this is its thread and its process, and it is open."""
        if self._is_closed:
            raise SessionMisuseError("the session is closed")
        if os.getpid() != self._pid:
            raise SessionMisuseError("a session does not survive fork(): the child needs one of its own")
        if threading.get_ident() != self._thread:
            raise SessionMisuseError(
                "a session belongs to the thread that made it: each needs one of its own"
            )

    def hold(self) -> None:
        """Let nothing be sent: room in the ring is being filled."""
        self._is_busy = True
        self.words[d.THREAD // 8] = d.NOBODY

    def release(self) -> None:
        """Let messages be sent again."""
        self._is_busy = False
        self.words[d.THREAD // 8] = self._thread

    def wait(self, look: Any, timeout_s: float | None, news: int = 0) -> bool:
        """Wait until a look says yes; False where the time is over.

        Raises:
            BrokerLostError: the broker is gone.
        """
        return self._waiter.wait(look, timeout_s, news)

    @property
    def submit_bytes(self) -> int:
        """The capacity of the ring to the writer."""
        return int(self.words[d.CAPACITY // 8])

    def poll(self) -> int:
        """Take in what the writer has answered, tell who waits; return how many messages were answered."""
        messages = 0
        while True:
            messages += submit.collect(self.desk)
            count = int(self.words[d.ANSWERS_COUNT // 8])
            if count:
                self.answers.take(self._noted[:count].tolist(), self.host)
                self.words[d.ANSWERS_COUNT // 8] = 0
            if count < d.ANSWERS_MAX:
                break
        if self.answers.waits_for_disk:
            self.answers.release(self.attachment.memory.watermarks.confirmed)
        return messages

    def forget_refusal(self) -> None:
        """One of the refused messages is told of already."""
        self._refused += 1

    def raise_refusals(self) -> None:
        """Raise RefusedError for messages refused since the last call, whose senders waited for no answer."""
        refused = int(self.words[d.MESSAGES_REFUSED // 8])
        new, self._refused = refused - self._refused, refused
        if new:
            raise refusal(int(self.words[d.LAST_REFUSAL // 8]), new)

    def ask(self, question: dict[str, Any], timeout_s: float = ASK_SECONDS) -> tuple[Any, int]:
        """Have the conductor answer a question; return what it says and the count of changes it is true for.

        Raises:
            RefusedError: it answers with an error.
            WaitTimeoutError: it does not answer.
            BrokerLostError: the broker is gone.
        """
        self._letters += 1
        number = (self.attachment.epoch << 32) + self._letters
        payload = orjson.dumps(question)
        deadline = time.monotonic() + timeout_s
        answered: list[bytes] = []
        while not answered:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeoutError(f"the broker's conductor has not answered within {timeout_s} s")
            self._post(number, payload)  # again where a conductor died with the question
            self.wait(lambda: self._read_answer(number, answered), min(left_s, ASK_AGAIN_SECONDS))
        code, remark, changes = orjson.loads(answered[0])
        if code != 0:
            raise RefusedError(code, remark)
        return orjson.loads(remark), changes

    def close(self) -> None:
        """Let the session go; what was sent is committed, and no answer is waited for. Twice is once."""
        if not self._is_closed:
            if os.getpid() == self._pid:
                self.check_owner()
            self._is_closed = True
            self.words[d.THREAD // 8] = d.NOBODY
            self.attachment.leave()
            _sessions.discard(self)

    def forget_owner(self) -> None:
        """In a forked child: let every kernel ask Python first, which refuses."""
        self.words[d.THREAD // 8] = d.NOBODY

    def _attach(self) -> None:
        self.attachment = Attachment(self.broker, self._what)
        self.lives += 1
        self.host = store_host(self.attachment.terms)
        for template in self.templates:
            template.outdate()
        self._is_lost = False
        words, found = self.words, self.attachment
        fields = {
            d.STATE: found.memory.state_address,
            d.METADATA: found.memory.sessions.metadata_address,
            d.RING: found.place(_SUBMIT),
            d.CAPACITY: found.capacity_bytes(_SUBMIT),
            d.COMPLETIONS: found.place(_COMPLETIONS),
            d.COMPLETIONS_CAPACITY: found.capacity_bytes(_COMPLETIONS),
            d.WRITER_BELL: found.memory.bell(plan.BELL_WRITER),
            d.ANSWERED: words[d.SERIAL // 8],
            d.MESSAGES_ANSWERED: words[d.MESSAGES // 8],
            d.ANSWERS_COUNT: 0,
            d.IS_SYNC: int(found.terms.is_sync_flush),
            d.HOST: id(self.host),
        }
        for field, value in fields.items():
            words[field // 8] = value
        self._up, self._down = found.place(_UP), found.place(_DOWN)
        self._up_bytes, self._down_bytes = found.capacity_bytes(_UP), found.capacity_bytes(_DOWN)
        words[d.THREAD // 8] = self._thread

    def _attach_again(self) -> None:
        self.attachment.leave()
        deadline = time.monotonic() + self._reattach_timeout_s
        while True:
            try:
                self._attach()
            except (BrokerAbsentError, BrokerNotReadyError):
                if time.monotonic() >= deadline:
                    raise
                pause(_RETRY_SECONDS)
            else:
                return

    def _lose(self) -> None:
        """Take note that the broker is gone; raise it where messages were in flight, once."""
        was_lost, self._is_lost = self._is_lost, True
        self.words[d.THREAD // 8] = d.NOBODY
        if was_lost:
            return
        self.poll()
        in_flight = self.in_flight
        if in_flight or len(self.answers):
            error = BrokerLostError(
                f"the broker {self.broker!r} stopped: nobody can say of {in_flight} messages in flight "
                "whether they are stored",
                in_flight,
            )
            self.answers.fail(error)
            raise error

    def _check_broker(self, asks_system: bool) -> None:
        """While waiting: raise where the broker is gone."""
        found = self.attachment
        if found.is_alive if asks_system else found.is_running:
            return
        self._lose()
        raise BrokerLostError(f"the broker {self.broker!r} stopped")

    def _post(self, number: int, payload: bytes) -> None:
        produced = spsc.produced_position(self._up)
        position = spsc.claim_within(self._up, self._up_bytes, produced, len(payload))
        if position >= 0:
            target = spsc.payload_within(self._up, self._up_bytes, position)
            self.attachment.memory.writable(target, len(payload))[:] = payload
            spsc.publish(self._up, spsc.fill_head_at(target, position, len(payload), _ASK, number))
        doorbell.ring_bell(self.attachment.memory.bell(plan.BELL_LOCAL))

    def _read_answer(self, number: int, answered: list[bytes]) -> bool:
        while True:
            found = spsc.peek_within(self._down, self._down_bytes, spsc.consumed_position(self._down))
            if found.position < 0:
                return bool(answered)
            payload = self.attachment.memory.read(found.address, found.size_bytes)
            spsc.give_back(self._down, found.position + spsc.space_of(found.size_bytes))
            if found.kind == _ANSWERED and found.tag == number:
                answered.append(payload)


def _forget_owners() -> None:
    for session in list(_sessions):
        session.forget_owner()


os.register_at_fork(after_in_child=_forget_owners)
