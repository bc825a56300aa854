"""What a person sees of a build: progress, counts, recipes as text, the machine's examination."""
