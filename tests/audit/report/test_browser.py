"""The report in a real browser, and its size: looked at, sorted, offline, below 5 MB."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.command import write_files
from captum_robust.audit.load.images import Picture, side_of_pictures
from captum_robust.audit.report.document import audit_document, read_results
from captum_robust.audit.run.journal import Journal, file_stem
from tests.audit.conftest import Report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")


def browse(page: Path, *options: str, profile: Path) -> str:
    """What headless Chromium says of a page, without any network."""
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
            f"--user-data-dir={profile}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr  # a refused script would say so
    return done.stdout


@pytest.fixture(scope="module")
def many(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 100 examples of 224 x 224 noise, copied from one real result."""
    folder = tmp_path_factory.mktemp("many")
    plan = AuditPlan(limit=100, nt_samples=150, noise=0.5, epsilon=0.02, out=folder)
    real, journal = Journal(report.folder), Journal(folder)
    about = (real.plan() or {})["about"] | {"examples": list(range(100))}
    journal.begin({"--noise": "0.5"}, about)
    number = report.document["examples"][0]["id"]
    side = side_of_pictures(len(plan.methods))
    generator = torch.Generator().manual_seed(0)
    for example in range(100):
        noise = torch.rand(4, 224, 224, generator=generator)
        picture = Picture.of_input(noise[1:], (0, 1), side).to_json()
        name = f"validation/n0{example:07d}/ILSVRC2012_val_{example:08d}.JPEG"
        known = real.read_example(number) or {}
        journal.write_example(example, known | {"picture": picture, "name": name})
        for method in plan.methods:
            picture = Picture.of_map(noise[0], side).to_json()
            journal.write(method, example, (real.read(method, number) or {}) | {"picture": picture})
    results = read_results(journal, plan)
    write_files(plan, results, audit_document(plan, results))
    return folder


def test_a_report_of_a_hundred_examples_is_below_five_megabytes(many: Path) -> None:
    files = [path for path in many.rglob("*") if path.is_file()]
    report = [path for path in files if many / "results" not in path.parents]
    assert len(list((many / "examples").iterdir())) == 100
    assert sum(path.stat().st_size for path in report) < 5e6
    assert (many / "report.html").stat().st_size < 1e6


def test_pages_link_to_one_another(many: Path) -> None:
    page = (many / "examples" / f"{file_stem(50)}.html").read_text(encoding="utf-8")
    assert f'href="{file_stem(49)}.html"' in page and f'href="{file_stem(51)}.html"' in page
    first = (many / "examples" / f"{file_stem(0)}.html").read_text(encoding="utf-8")
    assert "previous example" not in first


def test_colours_can_be_read(report: Report) -> None:
    """Contrasts of 4.5 and more on both grounds, in the light and the dark scheme (WCAG 2, AA)."""
    schemes = re.findall(r":root \{\s*([^}]+)\}", report.page)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ground in ("page", "panel"):
            for ink in ("ink", "soft", "accent", "alarm", "notice"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.html", f"examples/{file_stem(7)}.html"])
def test_it_looks_like_a_page(name: str, many: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    options = ["--window-size=1200,1600", f"--screenshot={shot}"]
    browse(many / name, *options, profile=tmp_path / "profile")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (1600, 1200, 3)
    assert (pixels.reshape(-1, 3) == 255).all(1).mean() > 0.3  # a white ground
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500  # and maps in colours


@in_a_browser
@pytest.mark.slow
def test_its_own_script_runs_and_no_other(report: Report, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    other = "<script>document.title = 'taken over'</script><img src=x onerror=alert(1)></main>"
    page.write_text(report.page.replace("</main>", other), encoding="utf-8")
    shown = subprocess.run(
        [
            *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    ).stdout
    assert 'aria-sort="none"' in shown and "<button" in shown
    assert "<title>taken over" not in shown


@in_a_browser
@pytest.mark.slow
def test_a_click_sorts_the_table(many: Path, tmp_path: Path) -> None:
    text = (many / "report.html").read_text(encoding="utf-8")
    values = iter(np.random.default_rng(0).permutation(100).tolist())
    head, rows = text.split('<table class="sortable" id="by-example">')
    rows, tail = rows.split("</table>", 1)
    # Values that all differ stand in the column of the first certified method.
    cells = re.compile(
        r'(<td class="name">.*?</td>.*?</td>.*?</td>\s*)<td data-value="[^"]*">', re.S
    )
    rows = cells.sub(lambda m: f'{m[1]}<td data-value="{next(values)}">', rows)
    text = f'{head}<table class="sortable" id="by-example">{rows}</table>{tail}'
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)  # lets the test's own script run
    click = """<script>
    const heads = document.querySelectorAll("#by-example thead th");
    const read = () => [...document.querySelectorAll("#by-example tbody tr")]
      .map((row) => Number(row.cells[4].dataset.value)).join(",");
    const seen = [];
    for (let i = 0; i < 2; i++) { heads[4].querySelector("button").click(); seen.push(read()); }
    document.body.dataset.seen = btoa(seen.join(";"));
    </script></body>"""
    page = tmp_path / "clicked.html"
    page.write_text(text.replace("</body>", click), encoding="utf-8")
    shown = browse(page, "--dump-dom", profile=tmp_path / "profile")
    found = re.search(r'data-seen="([^"]+)"', shown)
    assert found is not None
    seen = base64.b64decode(found[1]).decode()
    upwards, downwards = ([int(word) for word in part.split(",")] for part in seen.split(";"))
    assert upwards == list(range(100)) and downwards == list(reversed(range(100)))
