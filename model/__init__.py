"""Shards into heads: generators, critics and their training."""
