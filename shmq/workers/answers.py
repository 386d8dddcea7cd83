"""Answers to what workers ask the conductor: at once, or once what they say of popped messages is made last."""

from collections.abc import Sequence
from typing import Any

import orjson

from shmq.broker.pop.flights import FlightStoreError
from shmq.broker.pop.pops import Pops
from shmq.wire.codes import ResponseCode
from shmq.workers.letters import Kind
from shmq.workers.mail import Mail


class Answers:
    """The way of a conductor's answers."""

    def __init__(self, mail: Mail, pops: Pops, log: Any) -> None:
        self._mail = mail
        self._pops = pops
        self._log = log
        self._held: list[tuple[int, Kind, int, Sequence[bytes]]] = []

    def give(self, worker: int, kind: Kind, serial: int, pieces: Sequence[bytes] = ()) -> None:
        """Answer what a worker asked under a serial; while anything of pops is not settled, not before it is."""
        if self._pops.is_changed:
            self._held.append((worker, kind, serial, pieces))
        else:
            self._mail.answer(worker, kind, serial, pieces)

    def settle(self) -> None:
        """Make last what was popped, then send what was held; where that failed, who asked is told so."""
        failure: list[bytes] | None = None
        try:
            self._pops.settle()
        except FlightStoreError as error:
            self._log.error("what was popped is undone", reason=str(error))
            failure = [orjson.dumps((ResponseCode.SYSTEM_ERROR, str(error)))]
        held, self._held = self._held, []
        for worker, kind, serial, pieces in held:
            is_void = failure is not None and kind == Kind.ANSWERED
            self._mail.answer(worker, kind, serial, failure if is_void and failure else pieces)
