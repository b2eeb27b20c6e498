"""`python -m demo`: start everything, teach, draw, and leave a contact sheet and a report behind."""

import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from demo.client import Client
from demo.errors import DemoError
from demo.progress import Watcher
from demo.report import write_report
from demo.samples import load_samples
from demo.sheet import write_sheet
from demo.stack import Stack, running_stack
from demo.story import Plan, Story, play

# The plainest, one that merges, and what a lineage that names no strategy learns objects by.
STRATEGIES = ("naive", "merge", "self_replay")
CONCEPTS = "my-lion,my-rocket,my-guitar"

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where the sheet and the report go.")] = Path("demo-output"),
    home: Annotated[Path | None, typer.Option(help="The stack's state; `home` in the output folder.")] = None,
    base: Annotated[str, typer.Option(help="The base model.")] = "icons-64",
    concepts: Annotated[str, typer.Option(help="Which of samples/ to teach, in order.")] = CONCEPTS,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; the base model's own number.")] = None,
    images: Annotated[int, typer.Option(min=1, max=4, help="Pictures in each cell of the sheet.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The first picture's; the next have the next.")] = 7,
) -> None:
    """Teach three concepts, one after another, under three strategies; see what each costs the earlier ones."""
    plan = Plan(
        samples=load_samples([name.strip() for name in concepts.split(",")]),
        strategies=STRATEGIES,
        base_model=base,
        training={} if steps is None else {"steps": steps},
        num_images=images,
        seed=seed,
    )
    home = home or output / "home"
    try:
        _run(plan, output, home)
    except DemoError as error:
        raise DemoError(f"{error} (logs: {home / 'logs'})") from error


def _run(plan: Plan, output: Path, home: Path) -> None:
    console = Console()
    console.print(f"Starting Palimpsest in {home} (a few seconds)", highlight=False)
    with running_stack(home) as stack:
        story = _play(stack, plan, console)
    sheet, report = output / "contact-sheet.png", output / "report.html"
    write_sheet(story, sheet)
    write_report(story, report)
    console.print(f"Done in {story.seconds / 60:.1f} minutes. Look at:", highlight=False)
    # Not through rich, which would wrap a long path.
    typer.echo(f"{sheet}\n{report}")


def _play(stack: Stack, plan: Plan, console: Console) -> Story:
    """As a user of its own, so that a run finds nothing of an earlier one; all of it is deleted if the run fails."""
    with Client(stack.url, stack.admin_key) as admin:
        user = admin.create_user(f"demo {datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")
        try:
            with Client(stack.url, user.key) as client:
                return play(client, plan, Watcher(client, console))
        except BaseException:
            with suppress(DemoError):  # The first error is the one to tell.
                admin.delete_user(user.id)
            raise


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the demo; a failure is one line on stderr, and the exit status 1."""
    # SIGINT as well: a shell starts what it puts in the background with SIGINT ignored.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _stop)
    try:
        cli()
    except (DemoError, OSError) as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
