"""The decision report: what its page says, that it is text alone, and that anyone can read it. No sampling here."""

from __future__ import annotations

import base64
import re
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes

import bayescale as bs
from bayescale.report import page as pages
from bayescale.report.figures import drawn
from bayescale.report.page import to_html
from tests.fake_evals import fake_capability_fit, scores_table
from tests.fakes import fake_fit
from tests.report_fakes import AT, HOSTILE, Page, full_report, hostile_fit, hostile_report, made_backtest

STYLE = Path(pages.__file__).parent / "templates" / "style.css"
#: The least contrast of text with what is behind it that WCAG 2.1 AA asks for.
CONTRAST = 4.5


@pytest.fixture(scope="module")
def fitted() -> bs.Fit:
    return hostile_fit()


@pytest.fixture(scope="module")
def report() -> bs.DecisionReport:
    return hostile_report()


@pytest.fixture(scope="module")
def html(report: bs.DecisionReport) -> str:
    return to_html(report)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pictures."""
    monkeypatch.setattr("bayescale.report.figures.drawn", lambda *_: "<svg/>")


@pytest.fixture(scope="module")
def bare(fitted: bs.Fit) -> bs.DecisionReport:
    """A report without anything optional, whose target is missed, and without pictures, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayescale.report.figures.drawn", lambda *_: "<svg/>")
        return bs.decision_report(fitted, AT, target="loss<=1.7")


def test_the_verdict_is_that_of_decide(fitted: bs.Fit, report: bs.DecisionReport, page: Page) -> None:
    draws = bs.predict(fitted, AT)
    decided = bs.decide(draws, "loss<=2.1", bs.review(fitted, AT, made_backtest(fitted.model)))
    assert report.decision == decided
    (verdict,) = [e for e in page.all("section") if "verdict" in e.attributes.get("class", "")]
    assert "GO" in verdict.text and "NO GO" not in verdict.text
    assert decided.reasons[0][1:] in " ".join(verdict.text.split())
    assert "loss ≤ 2.1" in page.text
    assert page.all("title")[0].text.startswith("GO: loss ≤ 2.1")


def test_a_missed_target_is_no_go(bare: bs.DecisionReport) -> None:
    said = Page(to_html(bare)).text
    assert "NO GO" in said and "< 0.1 % probability" in said


def test_the_forecast_is_that_of_summarize(fitted: bs.Fit, report: bs.DecisionReport, page: Page) -> None:
    found = bs.summarize(bs.predict(fitted, AT)).iloc[0]
    assert (
        report.forecast.loc[0, ["median", "lower", "upper", "sd"]].tolist()
        == found[["median", "lower", "upper", "sd"]].tolist()
    )
    assert report.forecast.loc[0, "run"] == f"params 30B, family {HOSTILE}"
    for name in ("median", "lower", "upper"):
        assert f"{found[name]:.4g}" in page.text


def test_every_finding_is_on_the_page_the_worst_first(report: bs.DecisionReport, page: Page) -> None:
    assert report.decision.findings == report.review.findings
    for finding in report.review:
        assert " ".join(finding.message.split()) in page.text
        assert not finding.advice or " ".join(finding.advice.split()) in page.text
    order = ["FAIL", "REVIEW", "NOT ASSESSED", "PASS"]
    shown = [
        next(word for word in order if word in e.text) for e in page.all("span") if "status " in e.attributes.get("class", "")
    ]
    assert len(shown) == len(report.review)
    assert shown == sorted(shown, key=order.index)


def test_what_was_given_is_shown(report: bs.DecisionReport, page: Page) -> None:
    assert [picture.name for picture in report.pictures] == ["decision", "curve", "calibration", "crossover"]
    assert report.backtest is not None
    assert f"covered {100 * report.backtest.coverage(0.9):.1f} % of 60 forecasts" in page.text
    captions = [" ".join(e.text.split()) for e in page.all("caption")]
    assert any(said.startswith("Backtest of power_law_offset along params") for said in captions)
    assert "Runs worth paying for, best first" in captions
    assert "They do not cross in the range, with a probability of" in page.text
    assert "Not assessed" not in page.text


def test_what_was_not_given_is_not_assessed(bare: bs.DecisionReport) -> None:
    said = Page(to_html(bare))
    assert [picture.name for picture in bare.pictures] == ["decision", "curve"]
    assert "Not assessed: no backtest was given" in said.text
    assert "Not assessed: no runs that could be made were given" in said.text
    assert "Crossover" not in [e.text for e in said.all("h2")]


def test_the_page_says_what_would_change_the_answer(report: bs.DecisionReport, bare: bs.DecisionReport, page: Page) -> None:
    assert len(report.flips) == 3
    for sentence in report.flips["sentence"]:
        assert sentence[1:].replace("<=", "≤") in page.text
    assert report.scales is not None and report.scales["probability"].is_monotonic_increasing
    assert report.scales.set_index("factor").loc[1.0, "probability"] == report.decision.probability
    assert re.search(r"passes 90 % at about 0\.\d+ times the params", page.text)
    assert report.shares is not None
    noise = 100 * report.shares.loc[0, "share_noise"]
    assert f"{noise:.1f} % noise of a single run" in page.text
    assert "Between 0.1 and 10 times the params the probability does not pass 90 %" in Page(to_html(bare)).text


@pytest.mark.usefixtures("undrawn")
def test_a_review_that_fails_is_told_before_all_that_could_not_change_it(fitted: bs.Fit) -> None:
    split = fitted.posterior["E"].copy()
    split[:2] += 0.5
    tree = fitted.tree.copy()
    tree["posterior"] = tree["posterior"].to_dataset().assign(E=split)
    found = bs.decision_report(bs.Fit(fitted.model, fitted.data, tree), AT, target="loss<=2.8")
    said = Page(to_html(found)).text
    assert found.decision.verdict == "HOLD"
    assert "while it does, neither a target nor a larger run changes HOLD" in said


@pytest.mark.usefixtures("undrawn")
def test_the_provenance_is_complete(fitted: bs.Fit, tmp_path: Path) -> None:
    file = bs.save(fitted, tmp_path / "fit.nc")
    found = dict(bs.decision_report(bs.load(file), AT, target="loss<=2.1", file=file, seed=7).provenance)
    assert found["data"] == f"15 runs; SHA-256 {fitted.data.digest}"
    assert found["model"] == "power_law_offset(params); A partly pooled by family; alpha partly pooled by family"
    assert '"law"' in found["specification"]
    assert (found["sampler"], found["seed of the fit"], found["seed of the forecast"]) == ("fake", "0", "7")
    assert found["draws"].startswith("4 chains of 300 draws; R-hat at most 1.0")
    assert re.fullmatch(r"fit\.nc; SHA-256 [0-9a-f]{64}", found["file of the fit"])
    assert re.match(r"\d{4}-\d\d-\d\dT", found["fit saved"])
    for made in ("page made with", "fit saved with"):
        for package in ("bayescale", "jax", "numpyro", "arviz"):
            assert f"{package} {bs.__version__ if package == 'bayescale' else version(package)}" in found[made]
    other = bs.save(fake_fit(fitted.model, fitted.data.table.iloc[1:]), tmp_path / "other.nc")
    with pytest.raises(bs.SpecError, match="other data"):
        bs.decision_report(fitted, AT, target="loss<=2.1", file=other)
    with pytest.raises(OSError, match="cannot read"):
        bs.decision_report(fitted, AT, target="loss<=2.1", file=tmp_path / "none.nc")


def test_names_are_text(report: bs.DecisionReport, html: str, page: Page) -> None:
    assert not page.all("script")
    assert not [name for e in page.elements for name in e.attributes if name.startswith("on")]
    assert HOSTILE in page.text
    assert page.all("h1")[0].text == f"Report on {HOSTILE}"
    assert any(HOSTILE in e.attributes["alt"] for e in page.all("img"))
    assert "<script" not in html
    for picture in report.pictures:
        assert not re.search(r"<script|alert|onload|<!--", picture.svg)


def test_the_page_asks_for_nothing(html: str, page: Page) -> None:
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            assert element.attributes.get(name, "#").startswith(("data:", "#")), element
    assert not {e.tag for e in page.elements} & {"script", "iframe", "object", "embed", "form", "base", "audio", "video"}
    (policy,) = [e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    style = "".join(e.text for e in page.all("style"))
    assert style and not re.search(r"url\(|@import|https?:", style)
    assert "http" not in re.sub(r"base64,[\w+/=]+|http-equiv", "", html)


def test_it_is_quick_and_small(fitted: bs.Fit, html: str) -> None:
    began = time.process_time()  # other programs of the machine do not count
    again = to_html(full_report(fitted))
    assert time.process_time() - began < 5
    assert len(again.encode()) < 3e6
    undated = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in (html, again)]
    assert undated[0] == undated[1], "the same fit and seed make the same page"


def test_anyone_can_read_it(page: Page) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    assert any("width=device-width" in e.attributes.get("content", "") for e in page.all("meta"))
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert len(page.all("main")) == 1
    images = page.all("img")
    assert len(images) == 4
    assert all(len(e.attributes["alt"]) > 60 for e in images)
    tables = page.all("table")
    assert len(tables) == len(page.all("caption")) > 5
    assert all(e.attributes.get("scope") in ("col", "row") for e in page.all("th"))
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    named = {e.attributes["aria-labelledby"] for e in page.elements if "aria-labelledby" in e.attributes}
    assert named and named <= set(ids)
    # What scrolls is reached by the keyboard.
    assert all(e.attributes.get("tabindex") == "0" for e in page.all("div") if "scroll" in e.attributes.get("class", ""))


def test_no_status_is_told_by_colour_alone(page: Page) -> None:
    shown = [e for e in page.all("span") if "status " in e.attributes.get("class", "")]
    assert shown
    for element in shown:
        word = element.attributes["class"].removeprefix("status ").replace("_", " ")
        assert element.text.strip().endswith(word)


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.1."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    """Contrast ratio by WCAG 2.1."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_measured_rightly() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("text", ["text", "quiet", "go", "no_go", "hold", "none"])
def test_every_colour_of_text_is_readable(scheme: str, text: str) -> None:
    blocks = re.findall(r":root\s*{([^}]*)}", STYLE.read_text())
    assert len(blocks) == 2
    colours = dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{6})", blocks[scheme == "dark"]))
    for behind in ("paper", "card"):
        assert contrast(colours[text], colours[behind]) >= CONTRAST, (text, behind)


def test_only_named_colours_are_used_for_text() -> None:
    assert set(re.findall(r"[^-]color:\s*([^;}]+)", STYLE.read_text())) <= {
        "var(--text)",
        "var(--quiet)",
        "var(--tone)",
    }


@pytest.mark.usefixtures("undrawn")
def test_several_runs_must_all_meet_the_target(fitted: bs.Fit) -> None:
    at = {"params": [3e10, 1e10], "family": ["Llama", HOSTILE]}
    found = bs.decision_report(fitted, at, target="loss<=2.1")
    assert found.forecast["run"].tolist() == ["params 30B, family Llama", f"params 10B, family {HOSTILE}"]
    each = found.forecast["p_met"].to_numpy()
    assert found.decision.probability <= each.min()
    assert "all of 2 runs" in Page(to_html(found)).text


@pytest.mark.usefixtures("undrawn")
def test_a_family_that_was_not_fitted_is_reported_too(fitted: bs.Fit) -> None:
    found = bs.decision_report(fitted, {"params": 3e10, "family": "New"}, target="loss<=2.1")
    assert "family New" in Page(to_html(found)).text
    assert "unseen" in Page(to_html(found)).text


def test_of_a_law_of_size_and_data_compute_is_what_grows() -> None:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 3)
    table = pd.DataFrame({"params": params, "tokens": params * np.tile([5.0, 20.0, 80.0], 4)})
    table["loss"] = 1.8 + 480 * params**-0.35 + 2000 * table["tokens"] ** -0.36
    fit = fake_fit(bs.ScalingModel("chinchilla"), table)
    found = bs.decision_report(fit, {"params": 7e10, "tokens": 1.4e12}, target="loss<=2.1")
    assert found.forecast["run"].tolist() == ["params 70B, tokens 1.4T"]
    assert found.scales is not None and found.scales.attrs["along"] == "compute"
    ten = found.scales.iloc[-1]
    assert ten["params"] * ten["tokens"] == pytest.approx(10 * 7e10 * 1.4e12)
    (curve,) = [p for p in found.pictures if p.name == "curve"]
    assert "20 tokens per parameter" in curve.caption


def test_scores_are_reported_too() -> None:
    loading = np.array([[1.0], [1.5], [0.7]])
    scores = fake_capability_fit(bs.CapabilityModel(1), scores_table(), {"loading": loading}, sd=1.0, own=0.1)
    at = {"task": "hard", "family": "F1", "params": 1e11, "tokens": 1e13}
    found = bs.decision_report(scores, at, target="accuracy>=0.7")
    said = Page(to_html(found)).text
    assert "accuracy ≥ 0.7" in said and "task hard" in said
    assert found.scales is None and [p.name for p in found.pictures] == ["decision", "curve"]


@pytest.mark.usefixtures("undrawn")
def test_an_ensemble_is_reported_too(fitted: bs.Fit) -> None:
    alone = fake_fit(bs.ScalingModel("power_law", axes={"x": "params"}), fitted.data, {"A": 2.0})
    both = bs.Ensemble({"pooled": fitted, "alone": alone}, {"pooled": 0.8, "alone": 0.2}, pd.DataFrame())
    found = bs.decision_report(both, AT, target="loss<=2.1")
    said = Page(to_html(found)).text
    assert "2 laws with stated weights: pooled 0.800, alone 0.200" in said
    assert "by the law that weighs most, power_law_offset" in said


def test_the_users_style_neither_matters_nor_changes() -> None:
    def draw(ax: Axes) -> None:
        ax.plot([1, 2], [3, 4], label="a $dollar$ in a name")
        ax.legend()

    plain = drawn(draw, 3.0, 2.0)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30.0, "text.usetex": True}):
        assert drawn(draw, 3.0, 2.0) == plain
        assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["text.usetex"]) == (30.0, True)
    assert drawn(draw, 3.0, 2.0) == plain


def test_a_page_is_written_whole_or_not_at_all(
    bare: bs.DecisionReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.html"
    file.write_text("an earlier one")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        bs.write_report(bare, file)
    assert file.read_text() == "an earlier one"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.undo()
    assert bs.write_report(bare, file) == file
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("undrawn")
def test_bad_input_is_one_clear_error(fitted: bs.Fit, bare: bs.DecisionReport, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"it is a folder. Name a file in it, such as .*report\.html"):
        bs.write_report(bare, tmp_path)
    with pytest.raises(OSError, match="there is no folder"):
        bs.write_report(bare, tmp_path / "none" / "report.html")
    with pytest.raises(bs.SpecError, match="what decision_report returns"):
        bs.write_report(fitted, tmp_path / "report.html")
    with pytest.raises(bs.SpecError, match=r"crossover is what crossover\(\.\.\.\) returns.*next_runs is a table"):
        bs.decision_report(fitted, AT, target="loss<=2", crossover=1, next_runs=2)
    every = xr.Dataset({"p_b_better": ("scale", [0.5]), "params": (("chain", "draw", "crossing"), np.ones((1, 2, 1)))})
    with pytest.raises(bs.SpecError, match="that of crossings"):
        bs.decision_report(fitted, AT, target="loss<=2", crossover=every)
    with pytest.raises(bs.SpecError, match="that of crossings"):
        bs.plot_crossover(every)
    with pytest.raises(bs.SpecError, match=r"backtest is what backtest\(\.\.\.\) returns, got dict"):
        bs.decision_report(fitted, AT, target="loss<=2", backtest={})
    with pytest.raises(bs.SpecError, match="but the response of the fit is 'loss'"):
        bs.decision_report(fitted, AT, target="accuracy>=0.7")


def test_pictures_are_svg_that_a_browser_reads(report: bs.DecisionReport) -> None:
    from xml.etree import ElementTree

    for picture in report.pictures:
        made = base64.b64decode(picture.uri.partition(",")[2])
        assert ElementTree.fromstring(made).tag == "{http://www.w3.org/2000/svg}svg"
        assert picture.alt and picture.caption
