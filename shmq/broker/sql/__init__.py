"""SQL92 filters: expressions over the properties of a message, as RocketMQ understands them."""
