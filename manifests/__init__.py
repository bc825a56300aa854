"""What was built, from what, and how: identity, configuration, schema and storage (no images, no torch)."""
