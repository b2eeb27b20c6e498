"""What somebody with one key, or with none, or with an account on the machine, tries; against real processes."""
