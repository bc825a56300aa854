"""The books of one build: inputs, state, plan, commit, takedown."""
