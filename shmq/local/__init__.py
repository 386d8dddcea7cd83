"""Layer 4: producers and consumers in other processes, through shared memory."""
