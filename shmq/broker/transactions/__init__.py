"""Transactions: half messages, how they end, and whom the broker asks when nobody says."""
