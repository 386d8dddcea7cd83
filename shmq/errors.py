"""The exception family: every error says whose fault it is, and so what is done about it.

    ConfigError    the operator's    do not start; exit code 2
    PeerError      the peer's        close that connection
    RequestError   the request's     answer its code and remark
    StoreError     the store's       stop writing; what is acknowledged stays acknowledged
    LocalError     of a colocated producer or consumer: raised to the program that uses it

All are ShmqError, and are caught at the edge of a role. A broken invariant of our own is an `assert`.
"""


class ShmqError(Exception):
    """Any error that shmq raises on purpose."""


class ConfigError(ShmqError):
    """The operator asked for what cannot be; the message names the place and what is allowed."""


class PeerError(ShmqError):
    """A peer broke the protocol in a way that no response can express."""


class RequestError(ShmqError):
    """A well-framed request that cannot be served.

    Args:
        code: the RocketMQ response code (`shmq.wire.codes.ResponseCode`).
        remark: the text that the client sees.
        fields: response header fields that some codes must carry.
    """

    def __init__(self, code: int, remark: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(remark)
        self.code = code
        self.remark = remark
        self.fields = fields or {}


class StoreError(ShmqError):
    """The store's files are not what they must be, or the disk refuses."""


class DamagedLogError(StoreError):
    """No whole record lies in the log where one must be.

    Args:
        message: says so.
        position: where that is.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class SharedMemoryError(ShmqError):
    """The shared segment is absent, alive under another owner, of another layout, or does not fit."""


class LocalError(ShmqError):
    """A producer or consumer that works through the broker's shared memory cannot do what it was asked."""


class BrokerAbsentError(LocalError):
    """No broker of that name runs on this host."""


class BrokerNotReadyError(LocalError):
    """The broker of that name is just starting or stopping."""


class LayoutMismatchError(LocalError):
    """The broker lays its shared memory out as another version of shmq does."""


class NotOursError(LocalError):
    """The broker's shared memory belongs to another user, and is not open to a group of ours."""


class NoRoomError(LocalError):
    """Every session is taken, or there is no memory for another one."""


class RefusedError(LocalError):
    """The broker refuses what was asked of it, a message to be stored for instance.

    Args:
        code: the RocketMQ response code (`shmq.wire.codes.ResponseCode`).
        remark: why.
    """

    def __init__(self, code: int, remark: str) -> None:
        super().__init__(remark)
        self.code = code
        self.remark = remark


class RingFullError(LocalError):
    """The ring to the commit writer stayed full for as long as the caller would wait; nothing was sent."""


class WaitTimeoutError(LocalError):
    """What was waited for has not happened in time; it may happen yet."""


class BrokerLostError(LocalError):
    """The broker stopped or died.

    Args:
        in_flight: how many messages were sent and not yet acknowledged: each is stored or not, nobody can say.
    """

    def __init__(self, message: str, in_flight: int = 0) -> None:
        super().__init__(message)
        self.in_flight = in_flight


class SessionMisuseError(LocalError):
    """A session was used by another thread than its own, in a forked child, or after it was closed."""
