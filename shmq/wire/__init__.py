"""Layer 2: RocketMQ remoting: bytes in, commands out."""
