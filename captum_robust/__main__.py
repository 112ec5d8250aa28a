"""The command line: ``python -m captum_robust``, or ``captum-robust`` once installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from captum_robust._version import __version__
from captum_robust.audit import command as audit
from captum_robust.audit.usage import UsageError

_PROGRAM: Final = "captum-robust"
_WRONG_ARGUMENT: Final = 2
_INTERRUPTED: Final = 130  # what shells expect after Ctrl-C


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line and a remedy, without the usage block."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    root = _OneLineParser(
        prog=_PROGRAM,
        description="Smoothed, certified and audited attributions.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    auditing = commands.add_parser(
        "audit",
        help="write a robustness report",
        description=audit.DESCRIPTION,
        allow_abbrev=False,
    )
    audit.add_options(auditing)
    auditing.set_defaults(run=audit.run)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code.

    Args:
        arguments: the words after the program's name, those of this process where ``None``.

    Example:
        >>> main(["audit", "--noise", "-1"])
        2
    """
    try:
        parsed = parser().parse_args(arguments)
        return parsed.run(parsed)
    except UsageError as error:
        print(f"{_PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
        return _WRONG_ARGUMENT
    except KeyboardInterrupt:
        print(f"{_PROGRAM}: stopped; no report was written.", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
