"""People drawn at random: population, body, figure, paint and placement in the head frame."""
