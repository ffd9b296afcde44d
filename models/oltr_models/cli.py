"""What the commands share: an error of the user's data is a line, not a traceback."""

from __future__ import annotations

from collections.abc import Callable


# How commands are called: `oltr-models ` where that is what ran.
PROGRAM = "python -m oltr_models."


def prog(name: str) -> str:
    """The command `name` as it is called."""
    return PROGRAM + name


def run(main: Callable[[], None]) -> None:
    """Runs a command; a wrong file, option or photo ends it with its message and exit status 1."""
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
