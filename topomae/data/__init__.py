"""From files on disk to crops for training, and back to the geometry of the input."""
