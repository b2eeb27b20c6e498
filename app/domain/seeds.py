"""Seeds of pictures."""

# Larger seeds would not survive a JSON parser that reads numbers as doubles.
MAX_SEED = 2**53 - 1
