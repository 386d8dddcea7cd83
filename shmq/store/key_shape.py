"""The sizes of a key index file, which no file states; apart, for those who need no kernel."""

from typing import Final, NamedTuple

HEADER_BYTES: Final = 40
SLOT_BYTES: Final = 4
ENTRY_BYTES: Final = 20
SLOTS: Final = 5_000_000
ENTRIES: Final = 20_000_000


class KeyIndexShape(NamedTuple):
    """How many slots a file has, and how many entry numbers, of which 0 is not used."""

    slots: int = SLOTS
    entries: int = ENTRIES

    @property
    def file_bytes(self) -> int:
        """The size of a file."""
        return HEADER_BYTES + SLOT_BYTES * self.slots + ENTRY_BYTES * self.entries
