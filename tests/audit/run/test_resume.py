"""Started again, the audit goes on: the same numbers whatever stopped it, and whenever."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from captum_robust.__main__ import main
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.run import progress, work
from captum_robust.audit.run.journal import Journal
from captum_robust.certificates import Certificate
from tests.audit.conftest import SMALL, Report, numbers, run_audit


def test_a_finished_audit_is_not_done_again(
    report: Report, monkeypatch: pytest.MonkeyPatch, trained: None
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr(work, "run_example", never)
    again = run_audit(report.folder, *SMALL)
    assert numbers(again.document) == numbers(report.document)
    assert "gradients" not in again.progress


@pytest.mark.parametrize(
    "after", [4, *(pytest.param(after, marks=pytest.mark.slow) for after in (0, 1, 8))]
)
def test_interrupted_and_resumed_gives_the_same_numbers(
    after: int,
    report: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trained: None,
) -> None:
    done = 0
    real = work.run_example

    def impatient(*arguments: object) -> object:
        nonlocal done
        if done == after:
            raise KeyboardInterrupt
        done += 1
        return real(*arguments)

    monkeypatch.setattr(work, "run_example", impatient)
    assert main(["audit", "--out", str(tmp_path), *SMALL]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"captum-robust: stopped; {after} results are kept in {str(tmp_path)!r}; "
        "the same command goes on from there."
    )
    assert not (tmp_path / "report.html").exists()
    monkeypatch.setattr(work, "run_example", real)
    resumed = run_audit(tmp_path, *SMALL)
    assert numbers(resumed.document) == numbers(report.document)
    if after >= 3:
        assert "1 of 3 examples are in" in resumed.progress or after == 8


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_order_of_the_work(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: None
) -> None:
    real = work.Work.run
    monkeypatch.setattr(work.Work, "run", lambda self, rows: real(self, list(reversed(rows))))
    assert numbers(run_audit(tmp_path, *SMALL).document) == numbers(report.document)


def test_other_arguments_are_refused_until_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: None
) -> None:
    brief = ["--limit", "1", "--nt-samples", "64"]
    first = run_audit(tmp_path, *brief)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["audit", "--out", str(tmp_path), *brief, "--noise", "0.5", "--attacks"]) == 2
    said = capsys.readouterr().err
    assert "--noise was 0.25 and is 0.5; --attacks was not given and is on" in said
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    other = run_audit(tmp_path, *brief, "--noise", "0.5", "--restart")
    assert other.method("uniform")["answers"] != first.method("uniform")["answers"]


def test_certificates_can_be_asked_again_later(report: Report, subject: Subject) -> None:
    number = report.document["examples"][1]["id"]
    path = report.folder / "results" / "uniform" / f"{number:06d}.npz"
    certificate = Certificate.load(path)
    value = report.method("uniform")["answers"]["overlap"]["values"][1]
    assert float(certificate.overlap(0.02, 16)) == value


def test_a_full_disk_keeps_what_was_finished(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    report: Report,
    trained: None,
) -> None:
    real, written = Path.write_bytes, []

    def filling(path: Path, content: bytes) -> int:
        if len(written) > 6:
            real(path, content[:5])  # as much as there is room for
            raise OSError(28, "No space left on device")
        written.append(path)
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", filling)
    assert main(["audit", "--out", str(tmp_path), *SMALL]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("captum-robust: cannot write ")
    assert "(No space left on device); " in last and " results are kept in " in last
    kept = Journal(tmp_path).count()
    assert kept >= 3
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(Path, "write_bytes", real)
    assert numbers(run_audit(tmp_path, *SMALL).document) == numbers(report.document)


def test_a_full_disk_at_the_end_leaves_the_older_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: None
) -> None:
    brief = ["--limit", "1", "--nt-samples", "8"]
    run_audit(tmp_path, *brief)
    old = (tmp_path / "report.html").read_bytes()
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "report.html" in path.name:
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["audit", "--out", str(tmp_path), *brief]) == 1
    assert (tmp_path / "report.html").read_bytes() == old


def test_more_rows_a_pass_give_the_same_noise(
    report: Report, tmp_path: Path, trained: None
) -> None:
    """Sums are rounded in another order; nothing else may differ."""
    other = run_audit(tmp_path, *SMALL, "--batch-size", "7").document
    for method, again in zip(report.document["methods"][1:], other["methods"][1:], strict=True):
        for question in ("overlap", "cosine", "angle"):
            values = again["answers"][question]["values"]
            assert method["answers"][question]["values"] == pytest.approx(values, abs=1e-5)


CTRL_C = """
import os, signal, threading, time
import torch
from captum_robust.audit.run.progress import prompt_interrupt

def press():
    time.sleep(1.0)
    print(time.time(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)

torch.set_num_threads(1)
matrix = torch.randn(4000, 4000)
with prompt_interrupt(lambda: "last words"):
    threading.Thread(target=press, daemon=True).start()
    torch.linalg.eigvals(matrix)  # as a long backward pass: no Python in between
print("never")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_ctrl_c_ends_a_long_native_call_within_a_second() -> None:
    done = subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, error = done.communicate(timeout=300)
    waited = time.time() - float(said)
    assert done.returncode == 130
    assert error.strip() == "last words"
    assert waited < 1.0 + 1.0  # the second, and what a busy machine takes to notice


@pytest.fixture
def python_hears_ctrl_c() -> Iterator[None]:
    """Workers that run tests side by side ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_the_usual_way_is_left_alone(python_hears_ctrl_c: None) -> None:
    with pytest.raises(KeyboardInterrupt), progress.prompt_interrupt(lambda: "never"):
        import _thread

        _thread.interrupt_main()
        for _ in range(10**7):
            pass


KILLED = """
import os, random, signal, sys, time, warnings
import torch
torch.set_num_threads(1)
from captum_robust.__main__ import main
from captum_robust.audit.load import digits
from captum_robust.audit.run.journal import Journal
from pathlib import Path

weights, out, kills, options = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
state, after = torch.load(weights, weights_only=True)

def trained(data, generator):
    model = digits.small_cnn(generator)
    model.load_state_dict(state)
    generator.set_state(after)
    return model.eval().requires_grad_(False)

digits.train = trained

def start():
    child = os.fork()
    if child:
        return child
    code = main(["audit", "--out", str(out), "--quiet", *options])
    os._exit(code)

def finished():
    paths = [*out.glob("results/*/*.json"), *out.glob("results/*/*.npz")]
    return {path: path.read_bytes() for path in paths}

begun = time.perf_counter()
child = start()
if os.waitpid(child, 0)[1]:
    sys.exit("the first run failed")
whole = time.perf_counter() - begun
(out / "plan.json").unlink()
generator = random.Random(0)
journal = Journal(out)
journal.discard()
before, most, restarts = {}, 0, 0
for number in range(kills):
    child = start()
    time.sleep(generator.uniform(0, 0.5 * whole))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    now = finished()
    lost = [path for path in before if now.get(path) != before[path]]
    assert not [path for path in lost if "examples" not in path.parts], lost
    assert not [path for path in lost if path not in now], lost
    for path in now:
        if path.suffix == ".json":
            assert journal.read(path.parent.name, int(path.stem)) is not None, path
        else:
            import numpy as np
            with np.load(path, allow_pickle=False) as file:
                [file[name] for name in file.files]
    before = now
    most = max(most, journal.count())
    if (out / "report.html").exists():
        text = (out / "report.html").read_text(encoding="utf-8")
        assert text.rstrip().endswith("</html>")
    if journal.count() == 9:
        journal.discard()
        before, restarts = {}, restarts + 1
assert most > 0
child = start()
assert os.waitpid(child, 0)[1] == 0
assert not list(out.rglob("*.part"))
print("kills", kills, "most kept", most, "filled", restarts, "seconds of a run", round(whole, 1))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_fifty_random_moments_nothing_finished_is_lost(
    tmp_path: Path, subject: Subject, report: Report
) -> None:
    torch.save((subject.model.state_dict(), subject.model.after), tmp_path / "weights.pt")
    out = tmp_path / "report"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "weights.pt"), str(out), "50", *SMALL],
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills 50" in done.stdout
    assert numbers(run_audit(out, *SMALL).document) == numbers(report.document)


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_numbers(tmp_path: Path, report: Report) -> None:
    """Another hash seed and other addresses move no digit."""
    command = [sys.executable, "-m", "captum_robust", "audit", "--out", str(tmp_path), *SMALL]
    done = subprocess.run(
        [*command, "--json", "--quiet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == ""
    assert numbers(json.loads(done.stdout)) == numbers(report.document)
