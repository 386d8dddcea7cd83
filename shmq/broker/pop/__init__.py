"""Pop consumption: messages handed out for a time, acknowledged one by one, and handed out anew."""
