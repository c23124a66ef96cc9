"""A stand-in for the `membrane` program in front of a Kartra account; knows nothing of the core."""
