"""Layer 7: the `shmq` command line, one file a noun."""
