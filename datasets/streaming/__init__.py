"""Shards into a training loop: order, window, workers and batches."""
