"""The journal: every finished result on disk at once, so that nothing finished is ever lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.fingerprint import CODE_OF, differences
from captum_robust.audit.ask.imported import file_digest
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.usage import AuditFailure, UsageError
from captum_robust.audit.run.atomic import placed, sweep, write_atomically

# The layout of the records. 2: each record holds digests of the plan, of itself and of its arrays;
# one that is not right does not count as done. Records of 1 are taken over when the audit goes on.
RECORD_VERSION: Final = 2
_BEFORE: Final = 1
_EXAMPLES: Final = "examples"
_PLAN: Final = ("fingerprint", "about")
_SEALS: Final = ("plan", "arrays", "seal")


@dataclass
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
    _plan_digest: str | None = field(default=None, init=False, repr=False)

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
        self._plan_digest = None
        before = self.plan()
        if before is not None:
            old = before["record_version"] == _BEFORE
            now = {k: v for k, v in fingerprint.items() if not (old and k.startswith(CODE_OF))}
            self._refuse_another(before["fingerprint"], now)
            if old:
                self._take_over(fingerprint, before["about"])
            return True
        self.discard()
        self._write_plan(fingerprint, about)
        return False

    def _write_plan(self, fingerprint: Mapping[str, str], about: Mapping[str, Any]) -> None:
        content = {
            "record_version": RECORD_VERSION,
            "fingerprint": dict(fingerprint),
            "about": dict(about),
        }
        write_atomically(self._plan_path, _as_json(content))
        self._plan_digest = None

    def _take_over(self, fingerprint: Mapping[str, str], about: Mapping[str, Any]) -> None:
        """Seals records of version 1, which were all made by this plan; the plan comes last."""
        digest = content_digest(dict(fingerprint))
        for path in list(self._records()):
            text = _text_of(path) if path.suffix == ".json" else None
            found = None if text is None else _from_json(text)
            if found is not None and "status" in found:
                content = {name: found[name] for name in found if name not in _SEALS}
                arrays = _arrays_of(path.with_suffix(".npz"))
                write_atomically(path, _as_json(_sealed(content, digest, arrays)))
        self._write_plan(fingerprint, about)

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
        if (
            found is None
            or not whole
            or found.get("record_version") not in (RECORD_VERSION, _BEFORE)
        ):
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
        arrays = None
        if save is not None:
            with placed(self._path(method, example, ".npz")) as path:
                save(path)
                arrays = _arrays_of(path)
        sealed = _sealed(record, self.plan_digest, arrays)
        write_atomically(self._path(method, example, ".json"), _as_json(sealed))

    def read(self, method: str, example: int) -> dict[str, Any] | None:
        """A finished result; None where there is none of this plan, or it is not as it was made."""
        path = self._path(method, example, ".json")
        text = _text_of(path)
        found = None if text is None else _from_json(text)
        if found is None or "status" not in found or self.fault_of(path, found) is not None:
            return None
        return {name: value for name, value in found.items() if name not in _SEALS}

    def fault_of(self, path: Path, found: Mapping[str, Any], thorough: bool = False) -> str | None:
        """What is wrong with a record, in words; None where nothing is.

        Args:
            path: of the record.
            found: its content.
            thorough: reads the arrays too, of which otherwise the size alone is compared.
        """
        content = {name: value for name, value in found.items() if name != "seal"}
        if found.get("plan") != self.plan_digest:
            return "it is of another audit"
        if found.get("seal") != content_digest(content):
            return "it was changed"
        arrays, saved = found.get("arrays"), path.with_suffix(".npz")
        if arrays is None:
            return None
        if not saved.is_file():
            return "its arrays are missing"
        same = _arrays_of(saved) == arrays if thorough else _size_of(saved) == arrays["bytes"]
        return None if same else "its arrays were changed"

    @property
    def plan_digest(self) -> str:
        """The digest of what the numbers depend on, which every record holds."""
        if self._plan_digest is None:
            known = self.plan()
            self._plan_digest = content_digest({} if known is None else known["fingerprint"])
        return self._plan_digest

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

    def records(self) -> list[Path]:
        """The records, in the order of their names."""
        return sorted(path for path in self._records() if path.suffix == ".json")

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


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of JSON, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _sealed(
    record: Mapping[str, Any], plan: str, arrays: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A record with the digests that show whether it is as it was made."""
    content = json.loads(_as_json({**record, "plan": plan, "arrays": arrays}))  # tuples as lists
    return content | {"seal": content_digest(content)}


def _arrays_of(path: Path) -> dict[str, Any] | None:
    """Digest and size of a file of arrays; None where there is none."""
    if not path.is_file():
        return None
    return {"sha256": file_digest(path), "bytes": _size_of(path)}


def _size_of(path: Path) -> int:
    return path.stat().st_size


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
