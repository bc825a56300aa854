"""What a generator makes, for eyes: pictures, sheets and orbits."""
