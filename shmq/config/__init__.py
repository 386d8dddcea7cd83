"""How a broker is configured: the settings, their sources, and the rule by which one overrides another."""
