"""What every unit test may rely on."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_at_first() -> Iterator[None]:
    """A test that starts the logs leaves no level behind that hides lines from the next one."""
    yield
    structlog.reset_defaults()
