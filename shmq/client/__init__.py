"""Layer 5: a remoting client of our own, sync and asyncio."""
