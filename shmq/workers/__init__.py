"""Layer 5: roles, each one duty cycle and the owner of some I/O or a watermark."""
