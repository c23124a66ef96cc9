"""`make examples`: the programs of `examples/`, unmodified, with a scripted model and user."""
