"""Plain PyTorch operators that the networks share: no compiled extension is ever needed."""
