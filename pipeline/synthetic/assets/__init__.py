"""MakeHuman's free assets: their formats, inventory and download."""
