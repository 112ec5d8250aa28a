"""The command line of ``audit``: every setting of the plan as an option, read into a plan."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Final

from captum_robust.audit.ask.option import flag
from captum_robust.audit.ask.plan import OPTIONS, SWITCHES, AuditPlan
from captum_robust.audit.ask.usage import UsageError

# About this run of the command, not about the audit: part of no plan.
PROCESS_HELP: Final[dict[str, str]] = {
    "restart": "discard the results that the folder holds",
    "json": "print report.json to standard output, and nothing else",
    "quiet": "print neither forecast, progress nor tables",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``audit``; their texts are read by :func:`read_plan`."""
    defaults = AuditPlan().as_text()
    for name, option in OPTIONS.items():
        if name in SWITCHES:
            continue
        default = defaults.get(name, option.otherwise)
        words = f"{option.help} (default {default})".replace("%", "%%")
        parser.add_argument(flag(name), metavar=option.metavar, help=words)
    switches = {name: OPTIONS[name].help for name in SWITCHES}
    for name, text in (switches | PROCESS_HELP).items():
        parser.add_argument(flag(name), action="store_true", help=text)


def read_plan(arguments: argparse.Namespace) -> AuditPlan:
    """The plan that the options ask for.

    Raises:
        UsageError: naming the option, its rule, what came and an example that works.
    """
    plan, defaults = AuditPlan(), AuditPlan().as_text()
    for name, option in OPTIONS.items():
        text = getattr(arguments, name)
        if text is None or name in SWITCHES:
            continue
        if not _is_text(text):
            raise UsageError(
                f"`{flag(name)}` must be text in UTF-8, got {text!r}; rename it. "
                "See captum-robust audit --help."
            )
        try:
            value = option.read(text)
        except ValueError as error:
            raise UsageError(f"`{flag(name)}` must be {error}{_remedy(name, defaults)}") from None
        try:
            plan = replace(plan, **{name: value})
        except (ValueError, TypeError) as error:
            raise UsageError(f"{error}{_remedy(name, defaults)}") from None
    return replace(plan, **{name: getattr(arguments, name) for name in SWITCHES})


def _is_text(text: str) -> bool:
    """Whether the words of the command line could be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remedy(name: str, defaults: dict[str, str]) -> str:
    """An example that works, of an option that has one."""
    if name in defaults:
        return f" Try {flag(name)} {defaults[name]}."
    return " See captum-robust audit --help."
