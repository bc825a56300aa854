"""How good a generator's heads are, in numbers: distances of distributions, and whether the back shows a face."""
