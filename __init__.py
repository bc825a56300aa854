"""spherehead: photographs and rendered heads into provable shards, and 3D-head generators trained on them."""

__version__ = "0.1.0"
