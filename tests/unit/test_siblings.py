"""Siblings: the population learnt from draws of each curve alone, and what it does to a curve that says little."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.infer import siblings
from bayescale.infer.siblings import population
from bayescale.laws.param import Param
from tests.unit.test_batch import MODEL, SHORT, TABLES, table

PRIORS = {"alpha": Param.positive(1.0, 1.0), "bend": Param.real(0.0, 2.0)}


def drawn_alone(truth: np.ndarray, error: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Posterior draws of curves that were measured with a normal error, under the priors alone."""
    loc, scale = np.array([(p.loc, p.scale) for p in PRIORS.values()]).T
    seen = truth + error * rng.standard_normal(truth.shape)
    variance = 1 / (1 / scale**2 + 1 / error**2)
    mean = variance * (loc / scale**2 + seen / error**2)
    return [m + np.sqrt(variance) * rng.standard_normal((2000, len(m))) for m in mean]


def test_the_population_of_many_curves_is_found() -> None:
    """About a mean and a spread that were drawn: within five standard errors of what forty curves tell."""
    rng = np.random.default_rng(0)
    truth = np.array([-0.7, 1.5]) + np.array([0.3, 0.8]) * rng.standard_normal((40, 2))
    mean, sd = population(drawn_alone(truth, 0.2, rng), PRIORS, rng)
    np.testing.assert_allclose(mean, [-0.7, 1.5], atol=5 * 0.8 / np.sqrt(40))
    # The prior counts for four curves of forty-four: a spread of 0.3 is told as 0.42, one of 0.8 as 0.99.
    np.testing.assert_allclose(sd, np.sqrt((4 * np.array([1.0, 4.0]) + 40 * np.array([0.09, 0.64])) / 44), rtol=0.25)


def test_the_spread_of_few_curves_does_not_collapse() -> None:
    rng = np.random.default_rng(1)
    mean, sd = population(drawn_alone(np.zeros((2, 2)), 0.01, rng), PRIORS, rng)
    assert (np.abs(mean) < 0.5).all()
    assert (sd > np.array([0.5, 1.0])).all()


def test_a_curve_that_says_little_is_told_by_its_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    # So few siblings would leave the prior nearly as wide as it is.
    monkeypatch.setattr(siblings, "CURVES_OF_SPREAD", 0.3)
    few = table(0.2, 400, 5).iloc[200:205]  # padded to the length of the others: one program
    many = {**{str(i): table(0.2, 12, i) for i in range(3)}, "few": few}
    alone = bs.fit_many(MODEL, many, sampler=SHORT, seed=3, strict=False)
    pooled = bs.fit_many(MODEL, many, sampler=SHORT, siblings=True, seed=3, strict=False)
    assert float(pooled["few"].posterior["alpha"].std()) < 0.8 * float(alone["few"].posterior["alpha"].std())
    assert abs(float(pooled["0"].posterior["alpha"].mean()) - 0.2) < 4 * float(alone["0"].posterior["alpha"].std())
    assert pooled["few"].tree.attrs["siblings"] == "all"
    assert "siblings" not in alone["few"].tree.attrs


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": "x"}, "no label for 'b', 'c'"),
        ("family", "True, False or a mapping"),
    ],
)
def test_siblings_that_make_no_sense(given: object, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        bs.fit_many(MODEL, TABLES, siblings=given)


def test_siblings_of_unlike_laws_are_refused() -> None:
    models = dict.fromkeys(TABLES, MODEL) | {
        "c": bs.ScalingModel("power_law_offset", axes={"x": "params"}, noise=bs.Gaussian())
    }
    with pytest.raises(SpecError, match="are of one law"):
        bs.fit_many(models, TABLES, siblings=True)
