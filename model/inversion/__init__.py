"""From photographs of one person to a head: style vectors, cameras and a tuned generator."""
