"""Where photographs come from: one small class, a registry of its kinds, and what a source says beside the pixels."""
