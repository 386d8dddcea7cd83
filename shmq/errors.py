"""The exception family: every error says whose fault it is, and so what is done about it.

    ConfigError    the operator's    do not start; exit code 2
    PeerError      the peer's        close that connection
    RequestError   the request's     answer its code and remark
    StoreError     the store's       stop writing; what is acknowledged stays acknowledged

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


class SharedMemoryError(ShmqError):
    """The shared segment is absent, alive under another owner, of another layout, or does not fit."""
