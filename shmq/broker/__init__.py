"""Layer 4: what each request means."""
