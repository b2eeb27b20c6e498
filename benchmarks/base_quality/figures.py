"""A figure of the report, and the report as JSON and as a markdown table."""

from collections.abc import Callable, Mapping

from app.domain.base import Value
from benchmarks.statistics import Estimate


class Figure(Value):
    """One line of the report: drawn pictures, real ones, and real ones through the VAE; None where not measured."""

    name: str
    unit: str
    generated: Estimate | float | None = None
    real: Estimate | None = None
    through_vae: Estimate | None = None
    wanted: str = ""


class Report(Value):
    """What was measured of which weights, how, where and when."""

    date: str
    machine: str
    base: str
    encoders: dict[str, str]
    pictures: int
    names: int
    sampling_steps: int
    guidance_scale: float
    figures: tuple[Figure, ...]
    not_measured: str = ""


def markdown(report: Report) -> str:
    """The table that docs show, with the conditions below it."""
    head = "| figure | drawn | real pictures | real, through the VAE | wanted |"
    lines = [head, "| --- | --- | --- | --- | --- |", *(_row(figure) for figure in report.figures), ""]
    encoders = ", ".join(f"{name} {fingerprint[:12]}" for name, fingerprint in report.encoders.items())
    lines.append(
        f"{report.date}, {report.machine}. Base {report.base[:12]}, encoders {encoders}. {report.pictures} "
        f"prompts over {report.names} names that the base was trained to draw, each from a noise of its own, "
        f"{report.sampling_steps} steps, guidance {report.guidance_scale:g}. In brackets: 95% intervals."
    )
    if report.not_measured:
        lines.append(report.not_measured)
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    parts = (figure.generated, figure.real, figure.through_vae)
    return f"| {figure.name} | {' | '.join(_cell(part, figure.unit) for part in parts)} | {figure.wanted} |"


def _cell(value: Estimate | float | None, unit: str) -> str:
    if value is None:
        return ""
    write = _WRITERS[unit]
    if isinstance(value, Estimate):
        return f"{write(value.value)} ({write(value.low)} to {write(value.high)})"
    return write(value)


_WRITERS: Mapping[str, Callable[[float], str]] = {
    "share": lambda value: f"{value:.1%}",
    "dB": lambda value: f"{value:.1f} dB",
    "s": lambda value: f"{value:.1f} s",
    "MB": lambda value: f"{value:.1f} MB",
    "": lambda value: f"{value:.3f}",
}
