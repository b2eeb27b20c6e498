"""What can go wrong while the stack starts; each message is one line for the person at the terminal."""

from app.domain.errors import PalimpsestError


class StackError(PalimpsestError):
    """The stack on this machine cannot run."""

    slug = "stack"


class InterruptedStartError(StackError):
    """The stack was told to stop while it was starting."""
