"""Messages with a moment of their own: what waits, what is due, what is taken back."""
