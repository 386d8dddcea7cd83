"""Where code runs that somebody uploaded: a process of its own that can compute and answer, and nothing else."""
