"""Layer 4: the name server: who serves which topic."""
