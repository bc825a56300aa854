"""One sample: on disk, in memory, in a shard, in a batch."""
