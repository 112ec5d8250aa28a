"""The command line: ``python -m captum_robust``, or ``captum-robust`` once installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from captum_robust._version import __version__
from captum_robust.audit.ask.usage import AuditFailure, ExitCode, UsageError

_PROGRAM: Final = "captum-robust"


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line and a remedy, without the usage block."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    from captum_robust.audit import command as audit  # here, so that Ctrl-C meets `main`
    from captum_robust.audit import verify

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
        epilog=audit.EPILOG,
        allow_abbrev=False,
    )
    audit.add_options(auditing)
    auditing.set_defaults(run=audit.run)
    verifying = commands.add_parser(
        "verify",
        help="check that a report was not changed",
        description=verify.DESCRIPTION,
        epilog=verify.EPILOG,
        allow_abbrev=False,
    )
    verify.add_options(verifying)
    verifying.set_defaults(run=verify.run)
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
        return int(parsed.run(parsed))
    except UsageError as error:
        return _stopped(str(error), ExitCode.USAGE)
    except AuditFailure as error:
        return _stopped(f"{str(error).rstrip('.')}.", ExitCode.FAILED)
    except KeyboardInterrupt as interrupt:
        kept = f"{interrupt}." if interrupt.args else "no report was written."
        return _stopped(f"stopped; {kept}", ExitCode.INTERRUPTED)


def _stopped(why: str, code: ExitCode) -> int:
    """One line that says why, and the exit code."""
    print(f"{_PROGRAM}: {' '.join(why.split())}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
