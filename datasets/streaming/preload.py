"""What the fork server of data workers imports: masks are decoded once, so that workers are forked with the compiled loop."""

from __future__ import annotations

import numpy as np

from ..images.grey_png import open_grey
from ..shards.codec import encode_grey

_ONE = open_grey(encode_grey(np.zeros((2, 2), dtype=np.uint8)))
assert _ONE is not None  # what `encode_grey` writes, `open_grey` reads
_ONE.decode(np.empty((2, 2), dtype=np.uint8))
