"""shmq: a message broker for one host, and a drop-in for Apache RocketMQ."""

__version__ = "0.1.0"
