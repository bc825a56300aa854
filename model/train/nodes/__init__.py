"""Runs over several nodes: signs of life, a state that one node has, and checkpoints in an object store."""
