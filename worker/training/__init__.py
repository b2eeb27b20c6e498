"""Training of one adapter: data, loop and checkpoints."""
