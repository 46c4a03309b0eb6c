"""``stack``: weights of known optimum, an average that hurts, and what the table behind them says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayescale as bs
from bayescale.core.errors import DataError, SpecError
from bayescale.evaluate.backtest_result import Backtest
from bayescale.evaluate.mixture import Forecasts, score_mixture, together
from bayescale.evaluate.scores import LEVELS
from bayescale.evaluate.stacking import stacking_weights, weigh
from bayescale.infer.fit import Fit
from bayescale.models.scaling import ScalingModel
from tests.fakes import fake_fit

LAW = ScalingModel("power_law", axes={"x": "params"})

#: Log of a density that is as good as none.
NOUGHT = -500.0


def backtest_of(
    log_scores: Sequence[float],
    *,
    model: ScalingModel = LAW,
    cutoffs: Sequence[float] | None = None,
    loc: float = 0.0,
    sd: float = 0.1,
    converged: bool = True,
) -> Backtest:
    """Forecasts of runs of loss 1 by a log-normal, with log densities that are stated."""
    number = len(log_scores)
    z = {p: stats.norm.ppf((1 + p) / 2) for p in LEVELS}
    ends = {f"{end}_{100 * p:.0f}": np.exp(loc + s * sd * z[p]) for p in LEVELS for end, s in (("lower", -1), ("upper", 1))}
    row = {"params": 1e10, "distance": 1.0, "observed": 1.0, "median": np.exp(loc), "pit": stats.norm.cdf(-loc / sd), **ends}
    row |= {"crps": 0.1, "wis": 0.1, "relative_error": 0.1, "width_90": 2 * sd * z[0.9], "converged": converged, "factor": 1.0}
    columns = {"cutoff": [1e9] * number if cutoffs is None else list(cutoffs), "row": range(number), "log_score": log_scores}
    return Backtest(model, pd.DataFrame(columns).assign(**row), "params")


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    table = pd.DataFrame({"params": np.geomspace(1e8, 1e10, 6), "loss": np.linspace(3, 2, 6)})
    return {name: fake_fit(LAW, table, draws=20) for name in ("a", "b")}


def two(fits: dict[str, Fit], a: np.ndarray, b: np.ndarray, *, pick: bool = False, **kwargs) -> bs.Ensemble:
    return weigh(fits, {"a": backtest_of(a, **kwargs), "b": backtest_of(b, **kwargs)}, pick=pick)


class TestWeights:
    def test_known_optimum(self) -> None:
        """Where one candidate gives density 1 in a share s of the rows and the other in the rest, the weight is s."""
        first = np.arange(100) < 30
        densities = np.stack([np.where(first, 0.0, NOUGHT), np.where(first, NOUGHT, 0.0)], axis=1)
        assert stacking_weights(densities, 1e9) == pytest.approx([0.3, 0.7], abs=1e-6)
        # With the prior, (n s + 1/2) / (n + 1).
        assert stacking_weights(densities, 9.0) == pytest.approx([3.2 / 10, 6.8 / 10], abs=1e-6)

    def test_densities_of_normals(self) -> None:
        """Draws of a mixture of three normals: the weights are found again."""
        rng, truth = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
        at = np.array([-2.0, 0.0, 2.5])
        y = at[rng.choice(3, 20000, p=truth)] + rng.standard_normal(20000)
        densities = stats.norm.logpdf(y[:, None], at)
        assert stacking_weights(densities, 2e4) == pytest.approx(truth, abs=0.02)

    def test_few_rows_do_not_go_to_a_corner(self) -> None:
        found = stacking_weights(np.array([[0.02, 0.0], [0.01, 0.0]]), 2.0)
        assert found == pytest.approx([0.5, 0.5], abs=0.02)

    def test_what_is_always_far_worse_keeps_the_share_of_the_prior(self) -> None:
        densities = np.tile([0.0, -600.0, -600.0], (50, 1))
        assert stacking_weights(densities, 9.0)[1:] == pytest.approx([1 / 30, 1 / 30], abs=1e-6)

    def test_no_rows(self) -> None:
        assert stacking_weights(np.empty((0, 4)), 0.0).tolist() == [0.25] * 4


class TestMixture:
    def test_scores_of_a_mixture_of_normals(self) -> None:
        backtests = {"low": backtest_of([0.0], loc=-0.3), "high": backtest_of([1.0], loc=0.1, sd=0.2)}
        found = together(backtests)
        weights = np.array([0.3, 0.7])
        scores = score_mixture(found, weights).iloc[0]
        assert scores["log_score"] == pytest.approx(np.log(0.3 + 0.7 * np.e))

        def below(x: float) -> float:
            return 0.3 * stats.norm.cdf(x, -0.3, 0.1) + 0.7 * stats.norm.cdf(x, 0.1, 0.2)

        median = np.log(scores["median"])
        assert below(median) == pytest.approx(0.5, abs=1e-9)
        rng = np.random.default_rng(0)
        draws = np.where(rng.random(10**6) < 0.3, rng.normal(-0.3, 0.1, 10**6), rng.normal(0.1, 0.2, 10**6))
        assert scores["width_90"] == pytest.approx(np.ptp(np.quantile(draws, [0.05, 0.95])), abs=2e-3)
        assert scores["covered"] == (0.05 <= below(0.0) <= 0.95)

    def test_alone_a_candidate_is_its_backtest(self) -> None:
        made = backtest_of([0.3, -2.0], loc=0.05)
        scores = score_mixture(together({"a": made, "b": backtest_of([9.0, 9.0], loc=1.0)}), np.array([1.0, 0.0]))
        assert scores["median"].to_numpy() == pytest.approx(made.points["median"])
        assert scores["width_90"].to_numpy() == pytest.approx(made.points["width_90"])

    def test_coverage_is_of_the_mixture(self) -> None:
        """What came lies outside nearly all of it: in the 90 % interval of the part that has hardly a weight."""
        found = together({"far": backtest_of([0.0], loc=-0.3), "near": backtest_of([0.0])})
        assert not score_mixture(found, np.array([0.95, 0.05]))["covered"].item()
        assert score_mixture(found, np.array([0.8, 0.2]))["covered"].item()

    def test_what_has_no_density_is_as_bad_as_can_be(self) -> None:
        found = together({"a": backtest_of([0.0, 1.0]), "b": backtest_of([np.nan, -np.inf])})
        assert isinstance(found, Forecasts)
        assert np.isfinite(found.densities).all()
        assert stacking_weights(found.densities, 9.0) == pytest.approx([0.95, 0.05], abs=1e-6)

    def test_backtests_along_other_axes(self) -> None:
        one, other = backtest_of([0.0]), backtest_of([0.0])
        with pytest.raises(SpecError, match="along tokens"):
            together({"a": one, "b": Backtest(other.model, other.points, "tokens")})


class TestEvidence:
    def test_laws_that_complement_each_other(self, fits) -> None:
        a = np.tile([0.0, -4.0], 20)
        made = two(fits, a, a[::-1], cutoffs=np.repeat([1e8, 1e9], 20))
        assert dict(made.weights) == pytest.approx({"a": 0.5, "b": 0.5})
        assert made.evidence.index.tolist() == ["a", "b", "stacked", "picked"]
        stacked = made.evidence.loc["stacked"]
        assert stacked["log_score"] == pytest.approx(np.log(0.5 + 0.5 * np.exp(-4)), abs=1e-6)
        assert stacked["difference"] > 0
        assert not made.advice

    def test_an_average_that_hurts_is_told(self, fits) -> None:
        noise = np.random.default_rng(0).normal(0, 0.1, 12)
        a, b = noise, noise - 3.0
        made = two(fits, a, b, cutoffs=np.repeat([1e8, 1e9, 2e9], 4))
        stacked = made.evidence.loc["stacked"]
        assert stacked["difference"] < -stacked["difference_se"]
        (said,) = made.advice
        assert "averaging hurts" in said
        assert "'a' alone" in said
        assert said in repr(made)
        picked = two(fits, a, b, pick=True, cutoffs=np.repeat([1e8, 1e9, 2e9], 4))
        assert dict(picked.weights) == {"a": 1.0, "b": 0.0}
        assert "pick=True has put all weight on it" in picked.advice[0]

    def test_weights_of_a_cutoff_come_from_the_others(self, fits) -> None:
        """Each cut-off has another best law: what was right at the one is wrong at the other, which must be seen."""
        a, cutoffs = np.repeat([0.0, -6.0], 30), np.repeat([1e8, 1e9], 30)
        made = two(fits, a, a[::-1], cutoffs=cutoffs)
        assert dict(made.weights) == pytest.approx({"a": 0.5, "b": 0.5})
        size = backtest_of(a, cutoffs=cutoffs).effective_n / 2
        wrong = 0.5 / (size + 1)  # the weight of what was far worse at the other cut-off, and is right here
        assert made.evidence.loc["stacked", "log_score"] == pytest.approx(np.log(wrong + (1 - wrong) * np.exp(-6)), abs=0.02)
        assert made.evidence.loc["picked", "log_score"] == pytest.approx(-6.0)

    def test_picking_where_averaging_would_help(self, fits) -> None:
        a = np.tile([0.1, -4.0], 20)
        made = two(fits, a, np.tile([-4.0, 0.0], 20), pick=True, cutoffs=np.repeat([1e8, 1e9], 20))
        assert dict(made.weights) == {"a": 1.0, "b": 0.0}
        assert "averaging would help" in made.advice[0]

    def test_standard_error_of_the_paired_difference(self, fits) -> None:
        rng = np.random.default_rng(1)
        a, gap = rng.normal(0, 5, 10), rng.normal(1, 0.5, 10)
        made = two(fits, a, a - gap)
        row = made.evidence.loc["b"]
        size = backtest_of(a).effective_n
        assert size == pytest.approx(10 / (1 + 0.3 * 9))
        assert row["difference"] == pytest.approx(-gap.mean())
        assert row["difference_se"] == pytest.approx(gap.std(ddof=1) / np.sqrt(size))
        assert made.evidence.loc["a", ["difference", "difference_se"]].tolist() == [0.0, 0.0]

    def test_backtests_that_did_not_converge_are_told(self, fits) -> None:
        backtests = {"a": backtest_of([0.0, 0.1]), "b": backtest_of([0.0, 0.0], converged=False)}
        made = weigh(fits, backtests)
        assert made.evidence["converged"].tolist()[:2] == [1.0, 0.0]
        assert any("(b)" in said for said in made.advice)

    def test_a_single_run(self, fits) -> None:
        made = two(fits, np.array([0.0]), np.array([-1.0]))
        assert made.evidence.loc["stacked", "log_score"] == pytest.approx(np.log(0.5 + 0.5 / np.e))
        assert made.weights["a"] > made.weights["b"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("candidates", "said"),
        [
            ([LAW, LAW], "takes a mapping"),
            ({"a": LAW}, r"two candidates on, got 1.*'a' is a model"),
            ({"a": 1, "b": "x"}, r"'a' is neither.*'b' is neither"),
            ({"stacked": LAW, "b": LAW}, "a name is text other than"),
        ],
    )
    def test_candidates(self, candidates, said) -> None:
        with pytest.raises(SpecError, match=said):
            bs.stack(candidates)

    def test_fits_of_other_runs(self, fits) -> None:
        other = fake_fit(LAW, pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [3.0, 2.5, 2.2]}))
        with pytest.raises(SpecError, match="not fitted to the same runs"):
            bs.stack({"a": fits["a"], "other": other}, along="params")

    def test_an_axis_that_is_none(self, fits) -> None:
        with pytest.raises((SpecError, DataError), match="along"):
            bs.stack(fits, along="tokens")


def test_several_laws_in_one_go() -> None:
    """One real call: a curve with a floor, which a law without one cannot follow."""
    params = np.geomspace(1e7, 1e10, 12)
    noise = np.exp(0.003 * np.random.default_rng(3).standard_normal(12))
    table = pd.DataFrame({"params": params, "loss": (1.8 + 0.8 * (params / 1e8) ** -0.3) * noise})
    laws = {law: ScalingModel(law, axes={"x": "params"}) for law in ("power_law", "power_law_offset")}
    made = bs.stack(laws, table, along="params", cutoffs=1, progress=False)
    assert made.weights["power_law_offset"] > 0.7
    assert made.evidence.loc["power_law", "rmsle"] > made.evidence.loc["power_law_offset", "rmsle"]
    again = bs.stack(made.fits, along="params", cutoffs=1, pick=True, progress=False)
    assert again.weights["power_law_offset"] == 1.0
    assert again.fits["power_law"] is made.fits["power_law"]
    pd.testing.assert_series_equal(again.evidence["log_score"], made.evidence["log_score"])
