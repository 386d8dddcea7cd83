"""Layer 3: the broker's one shared-memory segment, and what lies where in it."""
