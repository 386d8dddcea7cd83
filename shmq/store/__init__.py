"""Layer 2: the commit log, and what is derived from it."""
