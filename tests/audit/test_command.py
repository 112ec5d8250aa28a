"""The command line: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captum_robust.__main__ import main, parser
from captum_robust.audit import command
from captum_robust.audit.ask import options, usage
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.options import read_plan
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import rounding
from tests.audit.conftest import SMALL, Report, run_audit


def test_writes_the_report_and_prints_its_table_and_path(report: Report) -> None:
    written = {path.name for path in report.folder.iterdir()}
    figures = {"maps.png", "overlap.png", "cosine.png"}
    report_files = {"report.html", "report.json", "manifest.json", "plan.json"}
    assert written == report_files | {"examples", "results"} | figures
    pages = {example["page"] for example in report.document["examples"]}
    assert pages == {f"examples/{path.name}" for path in (report.folder / "examples").iterdir()}
    assert str(report.folder / "report.html") in report.printed
    rows = {line.split()[0]: line for line in report.printed.splitlines() if line.startswith("  ")}
    assert "no certificate: unsmoothed" in rows["Saliency"]
    for method in report.document["methods"][1:]:
        answers = method["answers"]
        assert rounding.share(answers["overlap"]["median"]) in rows[method["title"]]
        assert rounding.radius(answers["cosine"]["radius"]["median"]) in rows[method["title"]]


def test_shows_progress_with_time_left(report: Report) -> None:
    assert re.search(r"Certifying 3 examples: 900 gradients, about \d+ s\.", report.progress)
    assert "9 of 9 results: 100%" in report.progress
    assert "<00:00" in report.progress


def test_same_seed_same_numbers_another_seed_others(report: Report, tmp_path: Path) -> None:
    again = run_audit(tmp_path / "again", *SMALL).document
    other = run_audit(tmp_path / "other", *SMALL, "--seed", "1").document
    for first, second, third in zip(
        report.document["methods"], again["methods"], other["methods"], strict=True
    ):
        assert first["answers"] == second["answers"]
        assert first["status"] == second["status"]
        assert first["answers"] is None or first["answers"] != third["answers"]
    assert report.document["examples"] == again["examples"] != other["examples"]


def test_leaves_generator_and_threads_alone(tmp_path: Path) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    run_audit(tmp_path, *SMALL, "--nt-samples", "2", "--limit", "1")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_reports_command_asks_for_the_same_plan(report: Report, plan: object) -> None:
    said = shlex.split(report.document["command"])
    assert said[:4] == ["python", "-m", "captum_robust", "audit"]
    assert read_plan(parser().parse_args(said[3:])) == plan


def test_the_command_repeats_attacks_and_metrics(thorough: Report, plan: AuditPlan) -> None:
    said = shlex.split(thorough.document["command"])
    asked = replace(plan, attacks=True, metrics=True, out=thorough.folder)
    assert read_plan(parser().parse_args(said[3:])) == asked


@pytest.mark.usefixtures("trained")
def test_unsmoothed_methods_alone(tmp_path: Path) -> None:
    (tmp_path / "overlap.png").write_bytes(b"of an older run")
    report = run_audit(tmp_path, *SMALL, "--methods", "saliency")
    assert {path.name for path in tmp_path.glob("*.png")} == {"maps.png"}
    assert "no certificate: unsmoothed" in report.printed
    assert report.document["methods"][0]["certificates"] is None


@pytest.mark.usefixtures("trained")
def test_every_method_once(tmp_path: Path) -> None:
    report = run_audit(
        tmp_path, *SMALL, "--limit", "1", "--nt-samples", "20", "--methods", ",".join(METHODS)
    )
    assert [method["name"] for method in report.document["methods"]] == list(METHODS)
    for method in report.document["methods"]:
        assert method["title"] in report.page
        assert (method["answers"] is None) == (method["status"] == "no certificate: unsmoothed")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--methods", "saliency,smoothish"], "`--methods` must be one of 'saliency'"),
        (["--methods", ","], "`--methods` must name at least one of"),
        (["--methods", "saliency,saliency"], "`--methods` must name each method once"),
        (["--noise", "0"], "`--noise` must be in (0, inf), got 0.0. Try --noise 0.25."),
        (["--noise", "nan"], "`--noise` must be in (0, inf)"),
        (["--noise", "much"], "`--noise` must be a number, got 'much'. Try --noise 0.25."),
        (["--nt-samples", "0"], "`--nt-samples` must be at least 1, got 0."),
        (["--nt-samples", "1e3"], "`--nt-samples` must be a whole number, got '1e3'."),
        (["--alpha", "1"], "`--alpha` must be in (0, 1), got 1.0. Try --alpha 0.05."),
        (["--epsilon", "-0.1"], "`--epsilon` must be in [0, inf), got -0.1."),
        (["--epsilon", "inf"], "`--epsilon` must be in [0, inf), got inf."),
        (["--k", "0.2"], "`--k` must be a share such as 10% or a count such as 25, got '0.2'."),
        (["--k", "0"], "`--k` must be at least 1, got 0. Try --k 25%."),
        (["--k", "101%"], "`--k` must be in (0, 1], got 1.01."),
        (["--k", "x%"], "`--k` must be a share such as 10%"),
        (["--k", "65"], "`--k` must be in [1, 64] (the number of features), got 65."),
        (["--keep", "65"], "`--keep` must be in [1, 64] (the number of features), got 65."),
        (["--seed", "-1"], "`--seed` must be at least 0, got -1. Try --seed 0."),
        (["--seed", "9223372036854775808"], "`--seed` must be below 2**63"),
        (["--device", "toaster"], "`--device` must be a device torch can use here, got 'toaster'."),
        (["--device", "cuda:99"], "`--device` must be a device torch can use here"),
        (["--limit", "0"], "`--limit` must be at least 1, got 0. Try --limit 12."),
        (["--nt-samples", "9" * 26], "`--nt-samples` must be at most 1,000,000,000, got 99"),
        (["--threads", "3000000000"], "`--threads` must be at most 1,024, got 3,000,000,000."),
        (["--size", "3000000000"], "`--size` must be at most 16,384"),
        (["--batch-size", "9" * 26], "`--batch-size` must be at most 1,048,576"),
        (["--device", "meta"], "`--device` must be a device torch can use here, got 'meta'."),
        (["--data", "dir\udcff"], "`--data` must be text in UTF-8, got 'dir\\udcff'"),
        (["--model", "torchvision:resnet18:"], "`--model` must name a file of weights after the"),
        (["--model", "torchvision:fcn_resnet50"], "`--model` must name a classifier of torch"),
        (["--limit"], "argument --limit: expected one argument. See captum-robust audit --help."),
        (["--limits", "3"], "unrecognized arguments: --limits 3. See captum-robust --help."),
        (["--limit", "some"], "`--limit` must be a whole number, got 'some'. Try --limit 12."),
        (["--normalize", "0.5"], "`--normalize` must be means and standard deviations such as"),
        (["--normalize", "0.5/0"], "`--normalize` must be in (0, inf), got 0.0. See "),
        (["--normalize", "1,2,3/1,2"], "`--normalize` must have one mean and one standard"),
        (["--target", "guess"], "`--target` must be one of 'label', 'prediction', got 'guess'."),
        (["--batch-size", "0"], "`--batch-size` must be at least 1, got 0."),
        (["--threads", "0"], "`--threads` must be at least 1, got 0."),
        (["--model", "nothing.pt2"], "`--model` must be digits, a torch.export or TorchScript"),
        (["--model", "torchvision:resnet"], "`--model` must name a classifier of torchvision"),
        (["--data", "nowhere"], "`--data` must be digits, a folder of images or an .npz file"),
        (["--li", "3"], "unrecognized arguments: --li 3."),
    ],
)
@pytest.mark.usefixtures("trained")
def test_a_wrong_argument_is_one_line_and_code_2(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["audit", "--out", str(tmp_path), *options])
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("captum-robust: ")
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert "Try --" in printed.err or "See " in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "says"), [([], "required: COMMAND"), (["adit"], "invalid choice: 'adit'")]
)
def test_a_wrong_command_is_one_line_and_code_2(
    said: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(said) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["audit", "--out", str(tmp_path / "file" / "report")]) == 2
    error = capsys.readouterr().err
    assert "`--out` must be a folder that can be written" in error
    assert "Try --out captum-robust-report." in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("module", ["jinja2", "sklearn"])
def test_a_missing_extra_names_the_command_that_installs_it(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = usage.importlib.util.find_spec
    monkeypatch.setattr(
        usage.importlib.util, "find_spec", lambda name: None if name == module else found(name)
    )
    assert main(["audit", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"needs {module}" in error
    assert 'pip install "captum-robust[audit]"' in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("trained")
def test_ctrl_c_stops_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "open_source", interrupted)
    assert main(["audit", "--out", str(tmp_path)]) == 130
    assert (
        capsys.readouterr().err.splitlines()[-1] == "captum-robust: stopped; no report was written."
    )


PRINTS = "from captum_robust.audit.command import _print; _print('x' * 10**6 + chr(0xB0))"


def test_a_reader_that_left_is_no_error() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PRINTS], **pipes) as done:
        done.stdout.close()
        assert done.wait() == 0
        assert done.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_cannot_be_written_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTS], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert "AuditFailure: cannot write to standard output (No space left" in done.stderr


def test_letters_that_an_output_lacks_are_written_as_escapes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.endswith("x\\xb0\n")


def test_help_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "captum_robust", "audit", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for option in (*options.OPTIONS, *options.PROCESS_HELP):
        assert "--" + option.replace("_", "-") in done.stdout
    said = " ".join(done.stdout.split())
    assert "(default 25%)" in said
    assert "Exit codes: 0 done;" in said
