"""Layer 1: bytes that processes share, and the order in which they may be touched."""
