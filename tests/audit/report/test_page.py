"""The page: self-contained, complete, and inert whatever the strings in it."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest

from captum_robust.audit.measure import rounding
from captum_robust.audit.report.page import render_page
from captum_robust.audit.report.table import text_table
from tests.audit.conftest import Report

IMAGES = {"maps": b"m", "overlap": b"o", "cosine": b"c"}
HOSTILE = "<script>alert('x')</script>\"><img src=https://example.org/x onerror=alert(1)>"


class Tags(HTMLParser):
    """Collects tags, and the addresses in their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_is_well_formed_and_loads_nothing(report: Report) -> None:
    parsed = Tags(report.page)
    assert parsed.open == []
    assert not {"link", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1
    images = [address for address in parsed.addresses if address.startswith("data:")]
    assert len(images) == 3
    assert all(address.startswith("data:image/png;base64,") for address in images)
    pages = {example["page"] for example in report.document["examples"]}
    assert set(parsed.addresses) - set(images) == pages
    assert "url(" not in report.page and "@import" not in report.page
    assert "default-src 'none'" in report.page


def test_only_the_script_that_sorts_may_run(report: Report) -> None:
    [script] = re.findall(r"<script>(.*?)</script>", report.page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in report.page
    assert "unsafe-inline" not in report.page.split("script-src")[1].split('"')[0]


def test_every_example_has_a_page_of_its_own(report: Report) -> None:
    for example in report.document["examples"]:
        page = (report.folder / example["page"]).read_text(encoding="utf-8")
        parsed = Tags(page)
        assert parsed.open == [] and "script" not in parsed.tags
        text = html.unescape(page)
        for method in report.document["methods"][1:]:
            assert method["statements"][example["index"]] in text
            value = method["answers"]["overlap"]["values"][example["index"]]
            assert rounding.share(value) in text
        pictures = [address for address in parsed.addresses if address.startswith("data:")]
        assert len(pictures) == 1 + len(report.document["methods"])
        others = set(parsed.addresses) - set(pictures)
        assert all((report.folder / "examples" / other).exists() for other in others)


def test_holds_statements_settings_and_command(report: Report) -> None:
    text = html.unescape(report.page)
    for method in report.document["methods"]:
        if method["answers"] is None:
            assert "No certificate: unsmoothed" in text
        else:
            assert method["statements"][0] in text
            assert rounding.share(method["answers"]["overlap"]["median"]) in text
            assert rounding.radius(method["answers"]["cosine"]["radius"]["median"]) in text
    assert report.document["command"] in text
    assert "The prediction is not certified" in text
    assert report.document["versions"]["captum"] in text


def test_hostile_strings_stay_inert(report: Report) -> None:
    document = copy.deepcopy(report.document)
    document["subject"] |= {"title": HOSTILE, "unit": HOSTILE, "facts": {HOSTILE: HOSTILE}}
    document["command"] = HOSTILE
    document["settings"] |= {"device": HOSTILE, "out": HOSTILE}
    document["versions"] = {HOSTILE: HOSTILE}
    for example in document["examples"]:
        example |= {"label": HOSTILE, "name": HOSTILE}
    document["skipped"] = [{"id": 7, "name": HOSTILE, "method": HOSTILE, "reason": HOSTILE}]
    for method in document["methods"]:
        method |= {"title": HOSTILE, "about": HOSTILE, "status": HOSTILE}
        if method["answers"]:
            method |= {"noise": HOSTILE, "norm": HOSTILE}
            method["statements"] = [HOSTILE] * 3
    page = render_page(document, IMAGES)
    parsed = Tags(page)
    assert parsed.tags.count("script") == 1
    assert parsed.handlers == []
    pages = {"#skipped", *(example["page"] for example in document["examples"])}
    assert all(a.startswith("data:image/png") or a in pages for a in parsed.addresses)
    assert html.escape(HOSTILE, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")


def test_the_table_aligns_its_columns(report: Report) -> None:
    lines = text_table(report.document).splitlines()[2:]
    full = [line for line in lines if "no certificate" not in line]
    assert len({len(line) for line in full}) == 1


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (rounding.share, 13 / 16, "81.2 %"),
        (rounding.share, 0.29, "29.0 %"),
        (rounding.share, 1.0, "100.0 %"),
        (rounding.cosine, 0.99999, "0.999"),
        (rounding.cosine, -1.0, "nothing"),
        (rounding.angle, 12.0, "12.0°"),
        (rounding.angle, 12.01, "12.1°"),
        (rounding.angle, 180.0, "nothing"),
        (rounding.radius, 0.0, "0.0000"),
        (rounding.radius, 0.00019, "0.0001"),
    ],
)
def test_numbers_are_rounded_to_the_true_side(shown, value: float, text: str) -> None:
    assert shown(value) == text
