"""The compiled load of the TCP questions: closed loops, catch-up readers, an open loop."""
