"""Published checkpoints into this toolkit's, without running their code."""
