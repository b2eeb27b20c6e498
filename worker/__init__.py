"""The GPU side: loads base models, trains adapters under a strategy, generates, evaluates."""

import os

# Before torch is imported, for its threads on the CPU: spin a little while they wait for each other, then sleep.
# Without a limit they take a shared machine's cores away from whoever they wait for (a step of 20 ms took 4 s); without
# any spinning, a training on two quiet cores took 2.5 times as long. The bits of a result do not depend on it.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
