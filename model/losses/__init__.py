"""Named terms of the players' losses."""
