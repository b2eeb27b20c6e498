from pathlib import Path


def write_report(output: Path) -> None: ...
