"""What every test may rely on."""

import pytest

from shmq.workers.listening import allow_many_descriptors


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001 - the hook's signature
    """Shells often allow 1024 open files; a test with a thousand idle peers needs more."""
    allow_many_descriptors()
