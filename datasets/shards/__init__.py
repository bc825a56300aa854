"""WebDataset shards: written, read back, stored anywhere, inspected and verified."""
