"""What a generator makes, for eyes: views, sheets, orbits, videos, training snapshots."""
