import pytest

from shmq.wire.flags import (
    COMPRESSION_LZ4,
    COMPRESSION_ZLIB,
    MESSAGE_COMPRESSED,
    TRANSACTION_COMMIT,
    TRANSACTION_NONE,
    TRANSACTION_PREPARED,
    compression_type,
    transaction_type,
    with_transaction_type,
)


@pytest.mark.parametrize(
    ("sys_flag", "kind"),
    [
        (0, 0),
        (COMPRESSION_LZ4, 0),
        (MESSAGE_COMPRESSED, COMPRESSION_ZLIB),
        (MESSAGE_COMPRESSED | COMPRESSION_LZ4, COMPRESSION_LZ4),
    ],
)
def test_a_compressed_body_without_a_type_is_zlib(sys_flag, kind):
    assert compression_type(sys_flag) == kind


def test_a_transaction_type_is_replaced_alone():
    prepared = MESSAGE_COMPRESSED | TRANSACTION_PREPARED
    assert with_transaction_type(prepared, TRANSACTION_COMMIT) == MESSAGE_COMPRESSED | TRANSACTION_COMMIT
    assert transaction_type(with_transaction_type(prepared, TRANSACTION_NONE)) == TRANSACTION_NONE
