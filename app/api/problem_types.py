"""The names of problem types (RFC 9457, section 3.1.1)."""


def problem_type(slug: str) -> str:
    """A URI that names the type; nothing need be found there."""
    return f"urn:palimpsest:problem:{slug}"
