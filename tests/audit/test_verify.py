"""``verify``, the lock and the seals: nothing is mixed, nothing changed goes unnoticed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from captum_robust.__main__ import main
from captum_robust.audit.ask.usage import UsageError
from captum_robust.audit.run import lock
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.lock import locked
from tests.audit.conftest import SMALL, Report, run_audit
from tests.audit.run.test_processes import SLOW


@pytest.fixture
def copy(report: Report, tmp_path: Path) -> Path:
    return shutil.copytree(report.folder, tmp_path / "copy")


def record(folder: Path, suffix: str = ".json") -> Path:
    return sorted((folder / "results" / "sparsified").glob(f"*{suffix}"))[0]


def change_answer(folder: Path) -> None:
    content = json.loads(record(folder).read_text())
    content["answers"]["overlap"]["value"] = 1.0
    record(folder).write_text(json.dumps(content))


def change_report(folder: Path) -> None:
    content = json.loads((folder / "report.json").read_text())
    content["methods"][2]["answers"]["overlap"]["median"] = 1.0
    (folder / "report.json").write_text(json.dumps(content))


def swap_certificates(folder: Path) -> None:
    first, second, *_ = sorted((folder / "results" / "sparsified").glob("*.npz"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "answer": (change_answer, "it was changed"),
    "report": (change_report, "report.json: 'methods' is not what the records say"),
    "certificates": (swap_certificates, "its arrays were changed"),
    "missing certificate": (lambda folder: record(folder, ".npz").unlink(), "are missing"),
    "page": (
        lambda folder: (folder / "report.html").write_text("ha"),
        "report.html: it was changed",
    ),
    "missing record": (lambda folder: record(folder).unlink(), "it is missing"),
}


def test_a_report_as_it_was_made_is_verified(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(copy)]) == 0
    assert "nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_named(name: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, said = CHANGES[name]
    change(copy)
    assert main(["verify", str(copy)]) == 5
    assert said in capsys.readouterr().err


def test_a_record_with_a_false_seal_is_found_by_its_certificate(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who seals again a record that he changed still has to forge the certificate."""
    path, journal = record(copy), Journal(copy)
    content = journal.read("sparsified", int(path.stem))
    content["answers"]["cosine"]["value"] = 1.0
    arrays = path.with_suffix(".npz").read_bytes()
    journal.write("sparsified", int(path.stem), content, lambda to: to.write_bytes(arrays))
    assert main(["verify", str(copy)]) == 5
    assert "its cosine is not what its certificate says" in capsys.readouterr().err


def test_a_folder_by_itself_makes_no_code_run(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_column.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nX = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("plan.json", "manifest.json"):
        content = json.loads((copy / name).read_text())
        content["fingerprint"]["--columns"] = "evil_column:X"
        (copy / name).write_text(json.dumps(content))
    assert main(["verify", str(copy)]) == 2
    assert "To run it, say --columns evil_column:X" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["missing", "empty", "foreign"])
def test_what_is_no_report_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "empty":
        tmp_path = tmp_path / "nowhere"
    if name == "foreign":
        (tmp_path / "manifest.json").write_text("[]")
    assert main(["verify", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("change", [change_answer, lambda folder: record(folder, ".npz").unlink()])
def test_a_changed_record_or_a_missing_certificate_is_computed_again(
    change: Callable[[Path], object], report: Report, copy: Path
) -> None:
    before, arrays = record(copy).read_bytes(), record(copy, ".npz").read_bytes()
    change(copy)
    again = run_audit(copy, *SMALL)
    assert "2 of 3 examples are in" in again.progress
    made = json.loads(record(copy).read_text())
    assert made["answers"] == json.loads(before)["answers"] and record(copy, ".npz").exists()
    assert len(arrays) == record(copy, ".npz").stat().st_size


def test_records_of_another_plan_do_not_count(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "one"), Journal(tmp_path / "other")
    for journal, noise in ((one, "0.25"), (other, "0.5")):
        journal.begin({"--noise": noise}, {"examples": [0]})
        journal.write("uniform", 0, {"status": "done"})
    mine, theirs = (j.results / "uniform" / "000000.json" for j in (one, other))
    assert one.settled("uniform", 0)
    mine.write_bytes(theirs.read_bytes())
    assert not one.settled("uniform", 0)


def test_two_audits_never_share_a_folder(tmp_path: Path) -> None:
    said: list[str] = []
    with locked(tmp_path, said.append):
        another = locked(tmp_path, said.append)
        with pytest.raises(UsageError, match="is in use by another audit, process"), another:
            pass
        (tmp_path / "result").touch()
    with locked(tmp_path, said.append):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["result"] and said == []


def test_a_killed_process_leaves_no_stale_lock(tmp_path: Path) -> None:
    code = (
        "import time, pathlib\n"
        "from captum_robust.audit.run.lock import locked\n"
        f"with locked(pathlib.Path({str(tmp_path)!r}), print):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match=f"process {process.pid} on"), locked(tmp_path, print):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with locked(tmp_path, print):
        pass


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(file: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock, "_lock", without)
    said: list[str] = []
    with locked(tmp_path, said.append):
        pass
    assert "has no locks: make sure that no other audit writes to it" in said[0]


@pytest.mark.slow
def test_the_same_command_twice_at_once(tmp_path: Path) -> None:
    """One of both is refused in one line, the other one is whole."""
    options = [
        "audit",
        "--quiet",
        "--methods",
        "sparsified",
        "--limit",
        "4",
        "--out",
        str(tmp_path),
    ]
    slowly = [sys.executable, "-c", SLOW, "5.0"]  # outlasts the start of the second
    command = [sys.executable, "-m", "captum_robust"]
    first = subprocess.Popen([*slowly, *options], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "plan.json").exists():
        assert first.poll() is None
        time.sleep(0.1)
    second = subprocess.run(
        [*command, *options, "--restart", "--noise", "0.5"], capture_output=True, text=True
    )
    assert second.returncode == 2 and "is in use by another audit" in second.stderr
    assert first.wait() == 0
    first.stderr.close()
    assert main(["verify", str(tmp_path)]) == 0
