"""The GPU side: loads base models, trains adapters under a strategy, generates, evaluates."""

import os

# Set before torch is imported. Its CPU threads spin a little while they wait for each other, then sleep. Without limit
# they take a shared machine's cores away from other processes: a step of 20 ms took 4 s. Without spinning, a training
# on two quiet cores took 2.5 times as long. The bits of a result do not depend on it.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
