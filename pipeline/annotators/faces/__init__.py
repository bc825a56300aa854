"""From points on a face to a placed head frame and its camera."""
