"""Layer 3: looking at a store's files without a broker; nothing here writes."""
