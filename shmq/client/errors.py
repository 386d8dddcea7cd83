"""What can go wrong for a client, by who said so.

    MessageError       we          the message cannot be sent to anybody as it is
    NoRouteError       name server knows no queue of the topic
    RefusedError       broker      answered with another code than success
    UnreachableError   nobody      no connection, or it was lost before the answer came
    NoAnswerError      nobody      the time for the answer is over

After the last two a request may have been carried out or not.
"""

from typing import Any, Final

from shmq.errors import ShmqError
from shmq.wire.codes import ResponseCode

_PASSING: Final = frozenset(
    {
        ResponseCode.SYSTEM_BUSY,
        ResponseCode.SERVICE_NOT_AVAILABLE,
        ResponseCode.FLOW_CONTROL,
        ResponseCode.GO_AWAY,
    }
)


class ClientError(ShmqError):
    """Any error that a producer or a consumer raises on purpose."""


class MessageError(ClientError):
    """A message that no broker would take."""


class NoRouteError(ClientError):
    """The topic has no queue that could be used."""


class UnreachableError(ClientError):
    """There is no connection, or it was lost."""


class NoAnswerError(ClientError):
    """The peer did not answer in time."""


class ClosedError(ClientError):
    """The client has been closed."""


class RefusedError(ClientError):
    """A peer answered that it did not do what it was asked.

    Args:
        code: the response code; `shmq.wire.codes.ResponseCode` names the known ones.
        remark: what the peer says about it.
        address: the peer.
    """

    def __init__(self, code: int, remark: str | None, address: str) -> None:
        super().__init__(code, remark, address)
        self.code = code
        self.remark = remark or ""
        self.address = address

    def __str__(self) -> str:
        said = f": {self.remark}" if self.remark else ""
        return f"{self.address} answered {code_name(self.code)}{said}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.remark, self.address)


class SendError(RefusedError):
    """A broker did not take a message."""


class PullError(RefusedError):
    """A broker does not let this consumer read."""


def may_pass(error: ShmqError) -> bool:
    """Return whether what failed may succeed later, with nothing changed by the application."""
    if isinstance(error, RefusedError):
        return error.code in _PASSING
    return isinstance(error, UnreachableError | NoAnswerError | NoRouteError)


def code_name(code: int) -> str:
    """Return a response code as text, with its name if it has one."""
    known = next((known for known in ResponseCode if known == code), None)
    return str(code) if known is None else f"{known.name} ({code})"
