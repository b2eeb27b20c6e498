"""The GPU side: loads base models, trains adapters under a strategy, generates, evaluates."""

import os

# Before torch is imported: threads that spin while they wait for each other take a shared machine's cores away from
# whoever they wait for. The bits of a result do not depend on it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
