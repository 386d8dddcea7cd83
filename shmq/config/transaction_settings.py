"""The settings of transactions: when a producer is asked how one ended; Config joins the groups."""

from dataclasses import dataclass

from shmq.config.setting import between, duration, setting
from shmq.config.units import INT32_MAX


@dataclass(frozen=True, kw_only=True)
class TransactionSettings:
    """How long transactions may be open, and what happens then."""

    transaction_timeout_ms: int = setting(
        6000,
        "How old a half message must be before its producer group is asked how the transaction ended. A message may ask "
        "for a longer time of its own (CHECK_IMMUNITY_TIME_IN_SECONDS).",
        java="transactionTimeOut",
        allowed=duration(),
    )
    transaction_check_interval_ms: int = setting(
        30_000,
        "How often open transactions are looked at; each that is old enough is asked for once.",
        java="transactionCheckInterval",
        allowed=duration(),
    )
    transaction_checks_max: int = setting(
        15,
        "After so many questions without an answer a half message goes to TRANS_CHECK_MAX_TIME_TOPIC, and is asked for no "
        "more. A commit that comes later is still carried out.",
        java="transactionCheckMax",
        allowed=between(1, INT32_MAX),
    )
