"""What a build remembers between runs, in one SQLite file."""
