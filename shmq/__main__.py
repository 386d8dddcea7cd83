"""`python -m shmq`: the same as the `shmq` command."""

from shmq.cli import main

main()
