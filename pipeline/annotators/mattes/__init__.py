"""From a rough chance-of-person map to a soft matte of one head."""
