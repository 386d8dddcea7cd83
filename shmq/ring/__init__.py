"""Layer 2: rings of records between processes."""
