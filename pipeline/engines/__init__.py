"""Ways to run the same work: in this process, or in spawned ones."""
