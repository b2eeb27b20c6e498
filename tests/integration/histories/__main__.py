"""`python -m tests.integration.histories 500 50`: so many histories of up to so many rules, on services of its own."""

import argparse
import tempfile
import time
from pathlib import Path

from tests.integration.histories.run import run_histories
from tests.services import fresh_settings, running_services


def main() -> None:
    """Run them, and tell what happened in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", type=int)
    parser.add_argument("rules", type=int)
    asked = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_services(Path(folder) / "stack") as addresses,
        fresh_settings(addresses, Path(folder) / "home") as settings,
    ):
        tally = run_histories(settings, asked.histories, asked.rules)
    print(f"no violation in {time.monotonic() - began:.0f} seconds")  # noqa: T201
    for what, count in sorted(tally.items()):
        print(f"{count:8,} {what}")  # noqa: T201


if __name__ == "__main__":
    main()
