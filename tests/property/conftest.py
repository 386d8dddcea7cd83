"""What every property test may rely on."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _descriptors_are_given_back() -> Iterator[None]:
    """Hundreds of small stores in one test, each with mappings in cycles: a descriptor each until collected."""
    yield
    gc.collect()
