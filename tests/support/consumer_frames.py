"""The requests of a consumer as whole frames."""

from shmq.wire.codes import RequestCode
from shmq.wire.command import Command, Encoding, encode

SUBSCRIPTION, SUSPEND, COMMIT = 4, 2, 1


def pull_frame(offset=0, *, opaque=9, encoding=Encoding.JSON, flag=0, **changes):
    """A pull as the Java client writes it; give None to leave a field out."""
    fields = {
        "queueId": 0, "maxMsgNums": 32, "sysFlag": SUSPEND, "suspendTimeoutMillis": 15000, "topic": "T",
        "subscription": "*", "commitOffset": 0, "subVersion": 5, "consumerGroup": "G", "expressionType": "TAG",
        "queueOffset": offset,
    }  # fmt: skip
    return _frame(RequestCode.PULL_MESSAGE, fields | changes, opaque, encoding, flag)


def offset_frame(code, *, opaque=9, encoding=Encoding.JSON, flag=0, **changes):
    """A question for, or a commit of, an offset."""
    fields = {"consumerGroup": "G", "topic": "T", "queueId": 0, "commitOffset": 4}
    return _frame(code, fields | changes, opaque, encoding, flag)


def _frame(code, fields, opaque, encoding, flag):
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    return encode(Command(code, opaque, flag, fields=texts, encoding=encoding))
