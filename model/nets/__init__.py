"""The networks that a generator and a discriminator are put together from."""
