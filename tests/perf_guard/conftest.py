"""Counts of machine instructions mean something only where there is machine code."""

from shmq.jit import JIT_ENABLED

collect_ignore_glob = [] if JIT_ENABLED else ["test_*.py"]
