"""What is common to reading the conductor's documents: one that says what it must not is an error of the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from shmq.broker.effects import DocumentName
from shmq.errors import RequestError, StoreError


@contextmanager
def reading(name: DocumentName) -> Iterator[None]:
    """Read a document's content here.

    Raises:
        StoreError: what is read is not what it must be.
    """
    try:
        yield
    except (RequestError, ValueError) as error:
        raise StoreError(f"{name}: {error}") from error
