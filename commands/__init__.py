"""The commands of `cli`, by what they work on: builds, finished sets, and this machine."""
