"""`python -m spherehead` is the program `spherehead`; everything is in `cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
