"""The network that tells what was done to a picture of a head: blur, enlargement, noise, smoothing, sharpening, compression."""
