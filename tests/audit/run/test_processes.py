"""Several processes: the numbers of one, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

from captum_robust.audit.ask.usage import AuditFailure, UsageError
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.processes import Processes
from captum_robust.audit.run.work import shares
from tests.audit.conftest import Report, numbers, run_audit

OPTIONS = ["--limit", "5", "--nt-samples", "100", "--noise", "0.5", "--threads", "1"]

# A process of the audit whose results take some time, so that it can be caught at work.
SLOW = """
import sys, time
from captum_robust.__main__ import main
from captum_robust.audit.run import work
real = work.run_example
def slowly(*arguments):
    time.sleep(float(sys.argv[1]))
    return real(*arguments)
work.run_example = slowly
sys.exit(main(sys.argv[2:]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(size: int, out: Path, *options: str, seconds: float = 0.0) -> list[subprocess.Popen[str]]:
    """The processes that torchrun would start, each watched by nobody else."""
    port = str(free_port())
    return [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(seconds), "audit", "--out", str(out), *options],
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_audit(tmp_path_factory.mktemp("alone"), *OPTIONS)


def test_shares_are_disjoint_and_complete() -> None:
    for size in (1, 2, 3, 7):
        parts = [shares(range(5), rank, size) for rank in range(size)]
        assert sorted(chain(*parts)) == list(range(5))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_is_a_team_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with Processes("cpu") as team:
        assert team.leads and team.size == 1 and team.device == "cpu"
        assert team.share(3) == 3
        team.meet("here")
        team.check()
        team.done()


def test_each_process_has_an_accelerator_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "3"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert Processes("cuda").device == "cuda:1"
    assert Processes("cuda:0").device == "cuda:0"
    assert Processes("cpu").device == "cpu"
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(UsageError, match="RANK must be a whole number, got 'one'"):
        Processes("cpu")


def test_a_failure_of_another_is_told_between_passes() -> None:
    team = Processes("cpu")
    team._failure = "process 1 ended: the disk is full"
    with pytest.raises(AuditFailure, match="process 1 ended"):
        team.check()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_the_numbers_are_those_of_one_process(size: int, alone: Report, tmp_path: Path) -> None:
    processes = start(size, tmp_path, *OPTIONS)
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * size, outputs
    assert "Report:" in outputs[0][0]
    assert all(out == "" for out, _ in outputs[1:])
    assert f"in {size} processes" in outputs[0][1]
    again = run_audit(tmp_path, *OPTIONS)  # nothing is left to do
    assert "gradients" not in again.progress
    assert numbers(again.document) == numbers(alone.document)


@pytest.mark.slow
def test_torchrun_starts_it(alone: Report, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "-m", "captum_robust", "audit"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--quiet", *OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert numbers(run_audit(tmp_path, *OPTIONS).document) == numbers(alone.document)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_one_dying_ends_the_others_and_keeps_what_is_done(
    victim: int, alone: Report, tmp_path: Path
) -> None:
    processes = start(3, tmp_path, *OPTIONS, seconds=1.5)
    journal = Journal(tmp_path)
    patience = time.monotonic() + 240
    while journal.count() < 3 and time.monotonic() < patience:
        time.sleep(0.1)
    assert journal.count() >= 3
    processes[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    others = [process for rank, process in enumerate(processes) if rank != victim]
    errors = [process.communicate(timeout=120)[1] for process in others]
    assert time.monotonic() - killed < 60
    assert [process.returncode for process in others] == [1, 1], errors
    processes[victim].communicate()
    for error in errors:
        last = error.strip().splitlines()[-1]
        assert last.startswith("captum-robust: process "), error
    kept = journal.count()
    assert kept >= 3
    resumed = run_audit(tmp_path, *OPTIONS)
    assert numbers(resumed.document) == numbers(alone.document)


@pytest.mark.slow
def test_a_full_disk_in_one_process_ends_all(tmp_path: Path) -> None:
    out = tmp_path / "report"
    processes = start(2, out, *OPTIONS, "--limit", "1", seconds=0.5)
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors  # one has nothing to do
    (out / "results").rename(tmp_path / "away")
    (out / "results").write_text("in the way")
    processes = start(2, out, *OPTIONS, "--limit", "1", seconds=0.5)
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1], errors
    assert any("cannot write" in error.splitlines()[-1] for error in errors)


@pytest.mark.slow
def test_ranks_of_other_arguments_are_refused(tmp_path: Path) -> None:
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "captum_robust", "audit", "--out", str(tmp_path)),
                *(*OPTIONS, "--seed", seed),
            ],
            env=os.environ
            | {"RANK": seed, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1")
    ]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert any("the processes have not the same arguments" in error for error in errors)
