"""What the conductor does in rounds: save what moves, and forget clients that were not heard of; seldom when alone."""

from collections.abc import Callable
from typing import Final

from shmq.broker.effects import DocumentName
from shmq.broker.metadata import Metadata
from shmq.config.settings import Config
from shmq.workers.agenda import Agenda, Company

EXPIRE_MS: Final = 10_000


class Upkeep:
    """The rounds of a conductor, on its agenda."""

    def __init__(
        self,
        config: Config,
        state: Metadata,
        agenda: Agenda,
        company: Company,
        save: Callable[[DocumentName], None],
    ) -> None:
        self._config = config
        self._state = state
        self._agenda = agenda
        self._company = company
        self._save = save

    def enter(self, now_ms: int) -> None:
        """Have done what is done in rounds, as often as is set."""
        self._agenda.enter(self._save_offsets, now_ms + self._config.consumer_offset_flush_interval_ms)
        self._agenda.enter(self._save_delays, now_ms + self._config.delay_offset_flush_interval_ms)
        self._agenda.enter(self._expire, now_ms + EXPIRE_MS)

    def _save_offsets(self, now_ms: int) -> int:  # noqa: ARG002 - every duty is told the time
        self._save(DocumentName.CONSUMER_OFFSETS)
        return self._company.pace(self._config.consumer_offset_flush_interval_ms)

    def _save_delays(self, now_ms: int) -> int:  # noqa: ARG002 - every duty is told the time
        self._save(DocumentName.DELAY_OFFSETS)
        return self._company.pace(self._config.delay_offset_flush_interval_ms)

    def _expire(self, now_ms: int) -> int:
        self._state.expire(now_ms)
        return self._company.pace(EXPIRE_MS)
