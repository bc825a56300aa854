"""The networks that a generator and a critic are put together from."""
