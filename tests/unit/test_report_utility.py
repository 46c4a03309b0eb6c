"""The page of a decision by what the outcomes are worth. No sampling here."""

from __future__ import annotations

import pandas as pd
import pytest

import bayescale as bs
from bayescale.report.page import to_html
from tests.report_fakes import AT, Page, hostile_fit


@pytest.fixture(scope="module")
def fitted() -> bs.Fit:
    return hostile_fit()


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pictures."""
    monkeypatch.setattr("bayescale.report.figures.drawn", lambda *_: "<svg/>")


def test_a_utility_is_shown_about_its_target(fitted: bs.Fit) -> None:
    rule = bs.Utility("loss<=1.978", value=5e6, cost=1e6, wrong=1e6, unit="USD")
    made = bs.decision_report(fitted, AT, target=rule)
    line = bs.decision_report(fitted, AT, target="loss<=1.978")
    assert made.decision.line.probability == pytest.approx(rule.break_even(1e6))
    assert made.decision.probability == line.decision.probability
    pd.testing.assert_frame_equal(made.forecast, line.forecast)
    page = Page(to_html(made))
    assert f"GO from {100 * rule.break_even(1e6):.6g} %" in page.text
    assert "the expected utility of GO less that of NO_GO" in page.text.replace("The expected", "the expected")
    assert "success is worth" in page.text
    assert ("it is worth its cost" in page.text) == (made.decision.verdict == "GO")
    always = bs.decision_report(fitted, AT, target=bs.Utility("loss<=1.978", value=5.0))
    assert "GO from 0 %" in Page(to_html(always)).text
    for stakes, said in (({"cost": 10.0}, "no probability of meeting it makes GO pay"), ({"no_go": -1.0}, "GO pays whether")):
        page = Page(to_html(bs.decision_report(fitted, AT, target=bs.Utility("loss<=1.978", value=5.0, **stakes))))
        assert said in page.text and "the mark on the bar" not in page.text
        assert "probability passes" not in page.text and "does not pass" not in page.text


def test_several_targets_have_no_page(fitted: bs.Fit) -> None:
    for rule, said in (
        (bs.AllOf(["loss<=1.978", "loss>=1.5"]), "decide about each target alone"),
        (bs.Utility(function=lambda draws: draws["loss"][..., 0], unit="USD"), "decide about a utility with a target"),
    ):
        with pytest.raises(bs.SpecError, match=said):
            bs.decision_report(fitted, AT, target=rule)
        with pytest.raises(bs.SpecError, match=said):
            bs.plot_decision(bs.decide(bs.predict(fitted, AT), rule), bs.predict(fitted, AT))
