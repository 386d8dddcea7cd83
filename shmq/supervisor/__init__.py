"""Layer 6: the parent, which spawns, watches, restarts and stops the roles."""
