"""``decide``: the verdict, its boundaries, and when it is HOLD."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayescale.core.errors import SpecError
from bayescale.core.findings import Finding, Review, Status
from bayescale.decision.checks import TABLE_CHECKS
from bayescale.decision.decide import Decision, decide
from bayescale.decision.rules import Threshold

FINE = Review((Finding("convergence", Status.PASS, "the chains agree"),))
RULE = Threshold("loss", "<=", 2.0)


def draws(values: np.ndarray, name: str = "loss") -> xr.Dataset:
    """Draws (chain, draw[, point]) as predict gives them."""
    values = values[..., None] if values.ndim == 2 else values
    return xr.Dataset({name: (("chain", "draw", "point"), values)}, attrs={"kind": "response"})


def meeting(share: float, number: int = 1000, seed: int = 0) -> xr.Dataset:
    """Independent draws of which this share meets the target."""
    values = np.where(np.arange(4 * number) < share * 4 * number, 1.9, 2.1)
    return draws(np.random.default_rng(seed).permutation(values).reshape(4, number))


def one(*statuses: Status) -> Review:
    return FINE + Review(tuple(Finding(f"check {i}", s, "told") for i, s in enumerate(statuses)))


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.93, "GO"), (0.905, "HOLD"), (0.9, "HOLD"), (0.895, "HOLD"), (0.87, "NO_GO"), (0.1, "NO_GO")]
)
def test_the_verdict_follows_the_probability(share: float, verdict: str) -> None:
    found = decide(meeting(share), RULE, FINE)
    assert found.verdict == verdict
    assert found.probability == pytest.approx(share)
    assert found.mcse == pytest.approx(np.sqrt(share * (1 - share) / 4000), rel=0.35)


def test_two_monte_carlo_errors_are_the_line() -> None:
    found = decide(meeting(0.93), RULE, FINE)
    margin = 2 * found.mcse
    for inside, verdict in ((True, "HOLD"), (False, "GO")):
        line = found.probability - margin * (0.99 if inside else 1.01)
        assert decide(meeting(0.93), Threshold("loss", "<=", 2.0, line), FINE).verdict == verdict
    for inside, verdict in ((True, "HOLD"), (False, "NO_GO")):
        line = found.probability + margin * (0.99 if inside else 1.01)
        assert decide(meeting(0.93), Threshold("loss", "<=", 2.0, line), FINE).verdict == verdict
    assert "within two Monte Carlo errors" in decide(meeting(0.9), RULE, FINE).reasons[0]


def test_draws_that_depend_on_each_other_have_a_larger_error() -> None:
    sticky = draws(np.repeat(meeting(0.93, 50)["loss"].to_numpy()[..., 0], 20, axis=1))
    assert decide(sticky, RULE, FINE).mcse > 3 * decide(meeting(0.93), RULE, FINE).mcse
    assert decide(sticky, RULE, FINE).verdict == "HOLD"


def test_draws_that_all_agree_do_not_make_certainty() -> None:
    """The rule of three: no exception in n draws bounds its probability by 3/n."""
    certain = draws(np.random.default_rng(0).normal(1.5, 0.01, (4, 500)))
    found = decide(certain, RULE, FINE)
    assert (found.verdict, found.probability) == ("GO", 1.0)
    assert 2 * found.mcse == pytest.approx(3 / 2000, rel=0.2)
    assert decide(certain, Threshold("loss", "<=", 2.0, 0.999), FINE).verdict == "HOLD"
    never = decide(draws(np.full((4, 500), 2.5)), RULE, FINE)
    assert (never.verdict, never.probability, never.mcse) == ("NO_GO", 0.0, 1.5 / 2000)


def test_all_points_must_meet_the_target_together() -> None:
    first, second = meeting(0.95, seed=1)["loss"].to_numpy(), meeting(0.95, seed=2)["loss"].to_numpy()
    found = decide(draws(np.concatenate([first, second], axis=-1)), RULE, FINE)
    assert found.probability == pytest.approx(0.9025, abs=0.01)
    assert any("all 2 points must meet the target" in reason for reason in found.reasons)
    assert not any("points" in reason for reason in decide(meeting(0.95), RULE, FINE).reasons)


@pytest.mark.parametrize(("op", "probability"), [("<=", 0.0), ("<", 0.0), (">=", 1.0), (">", 1.0)])
def test_the_side_of_the_target(op: str, probability: float) -> None:
    assert decide(draws(np.full((4, 100), 2.1)), Threshold("loss", op, 2.0), FINE).probability == probability


def test_at_the_target_itself() -> None:
    there = draws(np.full((4, 100), 2.0))
    assert decide(there, "loss<=2", FINE).probability == 1
    assert decide(there, "loss<2", FINE).probability == 0


def test_without_a_review_there_is_no_go() -> None:
    found = decide(meeting(0.99), "loss<=2.0")
    assert found.verdict == "HOLD"
    assert "no review of the fit was given" in found.reasons[0]
    assert decide(meeting(0.1), "loss<=2.0").verdict == "NO_GO"
    assert not found.findings


def test_a_review_that_assesses_nothing_is_none() -> None:
    for review in (Review(), Review((Finding("calibration", Status.NOT_ASSESSED, "no backtest"),))):
        assert decide(meeting(0.99), RULE, review).verdict == "HOLD"


def test_a_check_of_the_table_is_no_review_of_the_fit() -> None:
    table = Review(tuple(Finding(name, Status.PASS, "fine") for name in sorted(TABLE_CHECKS)))
    found = decide(meeting(0.99), RULE, table)
    assert found.verdict == "HOLD"
    assert "check of the table" in found.reasons[0]
    assert decide(meeting(0.99), RULE, table + FINE).verdict == "GO"


@pytest.mark.parametrize("share", [0.99, 0.9, 0.1])
def test_a_review_that_fails_holds_whatever_the_probability(share: float) -> None:
    found = decide(meeting(share), RULE, one(Status.FAIL))
    assert found.verdict == "HOLD"
    assert "the review fails (check 0)" in found.reasons[0]


@pytest.mark.parametrize("status", [Status.REVIEW, Status.NOT_ASSESSED, Status.PASS])
def test_lesser_findings_are_told_and_do_not_block(status: Status) -> None:
    found = decide(meeting(0.99), RULE, one(status))
    assert found.verdict == "GO"
    assert len(found.findings) == 2
    assert any("check 0" in reason for reason in found.reasons) == (status is not Status.PASS)


def test_calibration_that_was_not_assessed_is_shown() -> None:
    review = FINE + Review((Finding("calibration", Status.NOT_ASSESSED, "not assessed"),))
    found = decide(meeting(0.99), RULE, review)
    assert found.verdict == "GO"
    assert "calibration: not assessed" in str(found)
    assert "calibration: not assessed" in found._repr_html_()


def test_draws_that_are_not_finite_miss_the_target() -> None:
    values = np.full((4, 100), 1.0)
    values[0, 0], values[1, 1] = np.nan, -np.inf
    found = decide(draws(values), RULE, FINE)
    assert found.probability == pytest.approx(398 / 400)
    assert any("2 of 400 draws are not finite" in reason for reason in found.reasons)


def test_draws_of_the_mean_are_told() -> None:
    found = decide(meeting(0.99).assign_attrs(kind="mean"), RULE, FINE)
    assert any("leaves out" in reason for reason in found.reasons)


def test_draws_of_something_else_are_refused() -> None:
    with pytest.raises(SpecError, match=r"not of the rule's response: unknown response 'lss'.*Did you mean 'loss'"):
        decide(meeting(0.9), "lss<=2", FINE)
    with pytest.raises(SpecError, match="got DataArray"):
        decide(meeting(0.9)["loss"], RULE, FINE)
    with pytest.raises(SpecError, match="lack the dimension chain"):
        decide(meeting(0.9).isel(chain=0), RULE, FINE)
    with pytest.raises(SpecError, match="no draw or no point"):
        decide(meeting(0.9).isel(point=[]), RULE, FINE)


def test_it_shows_itself() -> None:
    found = decide(meeting(0.93), RULE, one(Status.REVIEW))
    assert str(found).splitlines()[0] == f"GO: P(loss <= 2) = 0.93 ± {found.mcse:.2g} (Monte Carlo error); GO from 0.9"
    assert "REVIEW       check 0: told" in str(found)
    assert "convergence" not in str(found)
    assert "<b>GO: P(loss &lt;= 2)" in found._repr_html_()


def test_what_a_user_wrote_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    rule = Threshold(evil, "<=", 2.0)
    review = Review((Finding(evil, Status.REVIEW, evil, advice=evil),))
    html = decide(draws(np.ones((4, 100)), name=evil), rule, review)._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 4


def test_a_decision_is_a_value() -> None:
    assert isinstance(decide(meeting(0.93), RULE, FINE), Decision)
    assert decide(meeting(0.93), RULE, FINE) == decide(meeting(0.93), RULE, FINE)
