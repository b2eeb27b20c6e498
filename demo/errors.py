"""What can go wrong in the demo, in one line for the person at the terminal."""


class DemoError(Exception):
    """The demo cannot go on."""
