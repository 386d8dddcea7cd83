"""The flag words of the protocol: permissions, and the sysFlag of a message, a pull and a topic.

Four words that share the name sysFlag or perm and nothing else; each bit is RocketMQ's.
"""

from typing import Final

# Permissions of a topic or a broker.
PERM_INHERIT: Final = 1  # new topics may be made after this one
PERM_WRITE: Final = 2
PERM_READ: Final = 4
PERM_PRIORITY: Final = 8

# sysFlag of a message, in a send request and in the stored message.
MESSAGE_COMPRESSED: Final = 0x1
MESSAGE_MULTI_TAGS: Final = 0x2
TRANSACTION_MASK: Final = 0xC
TRANSACTION_NONE: Final = 0x0
TRANSACTION_PREPARED: Final = 0x4
TRANSACTION_COMMIT: Final = 0x8
TRANSACTION_ROLLBACK: Final = 0xC
BORN_HOST_V6: Final = 0x10
STORE_HOST_V6: Final = 0x20
NEED_UNWRAP: Final = 0x40
INNER_BATCH: Final = 0x80
COMPRESSION_MASK: Final = 0x700
COMPRESSION_LZ4: Final = 0x100
COMPRESSION_ZSTD: Final = 0x200
COMPRESSION_ZLIB: Final = 0x300  # so is 0 in a compressed message: older clients knew nothing else

# sysFlag of a pull request.
PULL_COMMIT_OFFSET: Final = 0x1
PULL_SUSPEND: Final = 0x2
PULL_SUBSCRIPTION: Final = 0x4
PULL_CLASS_FILTER: Final = 0x8
PULL_LITE: Final = 0x10

# sysFlag of a topic, and of a subscription group.
TOPIC_UNIT: Final = 0x1
TOPIC_UNIT_SUB: Final = 0x2


def transaction_type(sys_flag: int) -> int:
    """Return which of the TRANSACTION_ values a message's sysFlag holds."""
    return sys_flag & TRANSACTION_MASK


def with_transaction_type(sys_flag: int, kind: int) -> int:
    """Return sys_flag with its transaction bits replaced by kind."""
    return (sys_flag & ~TRANSACTION_MASK) | kind


def compression_type(sys_flag: int) -> int:
    """Return which of the COMPRESSION_ values applies to a message's body; 0 where it is not compressed."""
    if not sys_flag & MESSAGE_COMPRESSED:
        return 0
    return sys_flag & COMPRESSION_MASK or COMPRESSION_ZLIB
