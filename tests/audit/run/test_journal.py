"""The journal: whole files or none, one audit a folder, nobody else's files touched."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from captum_robust.audit.ask.fingerprint import differences, fingerprint
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import AuditFailure, UsageError
from captum_robust.audit.run import atomic
from captum_robust.audit.run.atomic import placed, sweep, write_atomically
from captum_robust.audit.run.journal import Journal

FINGERPRINT = {"--noise": "0.25", "model": "a" * 64}
ABOUT = {"examples": [0, 1]}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    found = Journal(tmp_path)
    found.begin(FINGERPRINT, ABOUT)
    return found


def test_a_file_is_there_in_full_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    with pytest.raises(KeyboardInterrupt), placed(path) as part:
        part.write_bytes(b"ha")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("fails_at", ["write", "sync", "replace"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    fails_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fails_at == "write":
        monkeypatch.setattr(Path, "write_bytes", full)
    elif fails_at == "sync":
        monkeypatch.setattr(atomic, "_sync", full)
    else:
        monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(AuditFailure, match=r"cannot write '.*file' \(No space left on device\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_is_swept(journal: Journal) -> None:
    half = journal.results / "uniform" / ".000001.json.99.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"{")
    others = [half.with_name(".download.part"), half.with_name(".a.1.part"), half.parent / "b"]
    others[0].write_bytes(b"of somebody else")
    others[1].mkdir()
    (half.parent / "deeper").mkdir()
    others[2] = half.parent / "deeper" / half.name
    others[2].write_bytes(b"{")
    sweep([half.parent])
    assert not half.exists()
    assert all(other.exists() for other in others)


def test_a_record_is_written_after_its_arrays(journal: Journal) -> None:
    def save(path: Path) -> None:
        assert not journal.settled("uniform", 7)
        path.write_bytes(b"arrays")

    journal.write("uniform", 7, {"status": "done"}, save)
    assert journal.settled("uniform", 7) and journal.count() == 1
    assert (journal.results / "uniform" / "000007.npz").read_bytes() == b"arrays"


def test_a_record_that_is_none_is_computed_again(journal: Journal) -> None:
    journal.write("uniform", 7, {"status": "done"})
    for damaged in ('{"status": "do', "{}", "[]"):
        (journal.results / "uniform" / "000007.json").write_text(damaged)
        assert not journal.settled("uniform", 7)
        assert journal.read("uniform", 7) is None


def test_pending_are_those_that_lack_something(journal: Journal) -> None:
    done, skipped = {"status": "done"}, {"status": "skipped", "retry": False}
    for number in (0, 1, 2):
        journal.write_example(number, done)
    journal.write("uniform", 0, done)
    journal.write("saliency", 0, skipped)
    journal.write("uniform", 1, done)
    journal.write("uniform", 2, done)
    journal.write("saliency", 2, skipped | {"retry": True})
    journal.write_example(3, skipped)
    journal.write_example(4, skipped | {"retry": True})
    assert journal.pending([0, 1, 2, 3, 4, 5], ["uniform", "saliency"]) == [1, 2, 4, 5]


def test_goes_on_with_the_same_and_refuses_another(journal: Journal) -> None:
    journal.write("uniform", 7, {"status": "done"})
    journal.begin(FINGERPRINT, ABOUT)
    assert journal.count() == 1
    other = FINGERPRINT | {"--noise": "0.5", "model": "b" * 64}
    with pytest.raises(UsageError) as error:
        journal.begin(other, ABOUT)
    said = str(error.value)
    assert "holds 1 results of another audit" in said
    assert "--noise was 0.25 and is 0.5; model was aaaaaaaaaaaa... and is bbbbbbbbbbbb..." in said
    assert "--restart" in said
    journal.begin(other, ABOUT, restart=True)
    assert journal.count() == 0


def test_restart_removes_only_what_a_journal_writes(journal: Journal) -> None:
    own = journal.results / "uniform" / "notes.json"
    journal.write("uniform", 7, {"status": "done"}, lambda path: path.write_bytes(b""))
    for path in (own, journal.results / "000001.json", journal.folder / "thesis.tex"):
        path.write_text("mine")
    journal.discard()
    left = {path.name for path in journal.folder.rglob("*") if path.is_file()}
    assert left == {"notes.json", "000001.json", "thesis.tex"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"record_version": 99}'])
def test_a_plan_of_somebody_else_is_not_gone_on_with(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json that this version cannot go on with"):
        Journal(tmp_path).begin(FINGERPRINT, ABOUT)
    Journal(tmp_path).begin(FINGERPRINT, ABOUT, restart=True)
    assert json.loads((tmp_path / "plan.json").read_text())["fingerprint"] == FINGERPRINT


def test_every_argument_but_the_folder_counts() -> None:
    plan = AuditPlan()
    mine = fingerprint(plan, "m", "d")
    assert fingerprint(AuditPlan(out=Path("elsewhere")), "m", "d") == mine
    changed = {
        "methods": ("uniform",),
        "noise": 0.5,
        "nt_samples": 10,
        "alpha": 0.1,
        "epsilon": 0.1,
        "k": 3,
        "keep": 3,
        "seed": 1,
        "limit": None,
        "model": "m.pt2",
        "data": "d.npz",
        "normalize": ((0.5,), (0.5,)),
        "size": 8,
        "labels": Path("l.csv"),
        "target": "label",
        "batch_size": 3,
        "threads": 2,
        "columns": ("own:column",),
        "gray": True,
        "attacks": True,
        "metrics": True,
        "device": "cpu:0",
    }
    for name, value in changed.items():
        other = fingerprint(AuditPlan(**{name: value}), "m", "d")
        assert len(differences(mine, other)) == 1, name
    assert {*changed, "out"} == set(AuditPlan.__dataclass_fields__)
    assert differences(mine, mine | {"torch": "1.0"})[0].startswith("torch was")
