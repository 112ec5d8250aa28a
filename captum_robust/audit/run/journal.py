"""The journal: every finished result on disk at once, so that nothing finished is ever lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.fingerprint import differences
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.usage import AuditFailure, UsageError
from captum_robust.audit.run.atomic import placed, sweep, write_atomically

# The layout of the records; another one is never read.
RECORD_VERSION: Final = 1
_EXAMPLES: Final = "examples"
_PLAN: Final = ("fingerprint", "about")


@dataclass(frozen=True)
class Journal:
    """Results of an audit in its folder: one record for each (method, example), written once.

    ``plan.json`` says what was asked of what. ``results/METHOD/ID.json`` is a finished result,
    beside it ``ID.npz`` with the certificate, for
    :meth:`captum_robust.certificates.Certificate.load`; ``results/examples/ID.json`` is the example
    itself. A record is written last, so that its presence means that all of a result is there.

    Attributes:
        folder: of the report.
    """

    folder: Path

    @property
    def results(self) -> Path:
        """Where the records are."""
        return self.folder / "results"

    def begin(
        self, fingerprint: Mapping[str, str], about: Mapping[str, Any], restart: bool = False
    ) -> bool:
        """Starts a journal, or goes on with that of the same audit; whether it goes on.

        Args:
            fingerprint: what the numbers depend on.
            about: the subject, for the report.
            restart: discards what is there.

        Raises:
            UsageError: if the folder holds results of another audit; says what differs.
        """
        names = (_EXAMPLES, *METHODS)
        sweep([self.folder, self.folder / _EXAMPLES, *(self.results / name for name in names)])
        if restart:
            self.discard()
        before = self.plan()
        if before is not None:
            self._refuse_another(before["fingerprint"], fingerprint)
            return True
        self.discard()
        content = {
            "record_version": RECORD_VERSION,
            "fingerprint": dict(fingerprint),
            "about": dict(about),
        }
        write_atomically(self._plan_path, _as_json(content))
        return False

    def plan(self) -> dict[str, Any] | None:
        """What ``plan.json`` says; None where there is none.

        Raises:
            UsageError: if it is not one of an audit that this version can read.
        """
        text = _text_of(self._plan_path)
        if text is None:
            return None
        found = _from_json(text)
        whole = found is not None and all(isinstance(found.get(key), dict) for key in _PLAN)
        if found is None or not whole or found.get("record_version") != RECORD_VERSION:
            raise UsageError(
                f"`--out` holds a plan.json that this version cannot go on with, in "
                f"{str(self.folder)!r}. Name another folder, or discard it by --restart."
            )
        return found

    def discard(self) -> None:
        """Removes the plan and every record, and nothing else that may be in the folder."""
        for path in self._records():
            path.unlink(missing_ok=True)
        self._plan_path.unlink(missing_ok=True)

    def count(self) -> int:
        """Number of finished results."""
        return sum(path.suffix == ".json" for path in self._records() if _of_method(path))

    def write(
        self,
        method: str,
        example: int,
        record: Mapping[str, Any],
        save: Callable[[Path], object] | None = None,
    ) -> None:
        """Writes one finished result: first the arrays, by ``save``, and last the record."""
        if save is not None:
            with placed(self._path(method, example, ".npz")) as path:
                save(path)
        write_atomically(self._path(method, example, ".json"), _as_json(record))

    def read(self, method: str, example: int) -> dict[str, Any] | None:
        """A finished result; None where there is none."""
        text = _text_of(self._path(method, example, ".json"))
        found = None if text is None else _from_json(text)
        return found if found is not None and "status" in found else None

    def settled(self, method: str, example: int) -> bool:
        """Whether a result is there and the same command would not do better."""
        record = self.read(method, example)
        return record is not None and not record.get("retry", False)

    def write_example(self, example: int, record: Mapping[str, Any]) -> None:
        """Writes what is known of an example, or why it was skipped."""
        self.write(_EXAMPLES, example, record)

    def read_example(self, example: int) -> dict[str, Any] | None:
        """What is known of an example; None where it was not reached."""
        return self.read(_EXAMPLES, example)

    def pending(self, examples: Sequence[int], methods: Sequence[str]) -> list[int]:
        """Positions of the examples of which a result is missing."""
        return [
            position
            for position, example in enumerate(examples)
            if not self._complete(example, methods)
        ]

    def _complete(self, example: int, methods: Sequence[str]) -> bool:
        known = self.read_example(example)
        if known is None or known.get("retry", False):
            return False
        if known["status"] == "skipped":
            return True
        return all(self.settled(method, example) for method in methods)

    def _records(self) -> Iterator[Path]:
        """Files that a journal writes, and no others: the folder may be somebody's own."""
        for name in (_EXAMPLES, *METHODS):
            for suffix in (".json", ".npz"):
                for path in (self.results / name).glob(f"*{suffix}"):
                    if path.stem.isdigit():
                        yield path

    @property
    def _plan_path(self) -> Path:
        return self.folder / "plan.json"

    def _path(self, method: str, example: int, suffix: str) -> Path:
        return self.results / method / f"{file_stem(example)}{suffix}"

    def _refuse_another(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        differing = differences(before, now)
        if differing:
            raise UsageError(
                f"`--out` {str(self.folder)!r} holds {self.count()} results of another audit: "
                f"{'; '.join(differing)}. Ask for the same, name another folder, or discard them "
                "by --restart."
            )


def file_stem(example: int) -> str:
    """The name of an example's files; made of its number, never of a name in the data.

    Example:
        >>> from captum_robust.audit.run.journal import file_stem
        >>> file_stem(731)
        '000731'
    """
    return f"{example:06d}"


def _text_of(path: Path) -> str | None:
    """What a file holds; None where there is none.

    Raises:
        AuditFailure: if it is there and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AuditFailure(f"cannot read {str(path)!r} ({error.strerror or error})") from None


def _of_method(path: Path) -> bool:
    return path.parent.name != _EXAMPLES


def _as_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode()


def _from_json(text: str) -> dict[str, Any] | None:
    """A record, or None where the text is not one: such a result is computed again."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
