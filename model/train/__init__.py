"""Training: shards into a generator, on one CPU, one GPU or many machines."""
