"""Parameters at the rows of a table: fitted groups from the posterior, unseen ones from the population."""

from __future__ import annotations

import numpy as np
import numpyro
import pandas as pd
import pytest
from numpyro.handlers import seed, trace

from bayescale.core.errors import DataError, SpecError
from bayescale.core.numerics import double_precision
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.predict import predict
from tests.fakes import fake_fit

FAMILIES = ("a", "b", "c", "d")
ARCHITECTURE = {"a": "X", "b": "X", "c": "Y", "d": "Y"}


def table() -> pd.DataFrame:
    family = np.repeat(FAMILIES, 4)
    params = np.tile(np.geomspace(1e8, 1e10, 4), 4) * np.repeat([1.0, 1.1, 1.2, 1.3], 4)
    loss = 1.5 + 30 * params**-0.18
    frame = pd.DataFrame({"family": family, "params": params, "loss": loss})
    return frame.assign(architecture=frame["family"].map(ARCHITECTURE))


def fitted(pooling: object, draws: int = 200, sd: float = 0.01, **parameters: object) -> Fit:
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"alpha": pooling})
    return fake_fit(model, table(), parameters, draws=draws, sd=sd)


def alpha(fit: Fit, rows: dict[str, list[str]], n: int = 1, unseen: str = "population") -> np.ndarray:
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(index=range(n))
    return parameter_draws(fit, frame, generator(0, 0), unseen)["alpha"]


def test_a_fitted_group_has_its_own_posterior_in_the_order_of_the_rows() -> None:
    fit = fitted(PartialPooling("family"))
    got = alpha(fit, {"family": ["c", "a", "c"]})
    own = fit.posterior["alpha"]
    np.testing.assert_array_equal(got, own.sel(family=["c", "a", "c"]).to_numpy())


def test_an_unseen_family_spreads_as_the_population_does() -> None:
    fit = fitted(PartialPooling("family"), draws=20000, alpha=0.2, alpha_mu=-1.5, alpha_tau=0.3, sd=0.1)
    got = np.log(alpha(fit, {"family": ["new"]}))
    # mu has sd 0.1; tau is log-normal about 0.3 with log sd 0.1, so E tau^2 = 0.09 exp(2 * 0.1^2).
    expected = np.sqrt(0.1**2 + 0.09 * np.exp(0.02))
    assert got.mean() == pytest.approx(-1.5, abs=4 * expected / np.sqrt(got.size))
    assert got.std() == pytest.approx(expected, rel=0.02)  # eight standard errors


def test_rows_of_one_unseen_label_share_a_draw_and_others_do_not() -> None:
    fit = fitted(PartialPooling("family"), sd=0.0)
    got = alpha(fit, {"family": ["new", "a", "new", "other", ""]})
    np.testing.assert_array_equal(got[..., 0], got[..., 2])
    assert not np.allclose(got[..., 0], got[..., 3])
    assert abs(np.corrcoef(got[..., 0].ravel(), got[..., 3].ravel())[0, 1]) < 0.2
    assert not np.allclose(got[..., 3], got[..., 4])


def test_without_a_group_column_all_rows_are_one_unseen_group() -> None:
    got = alpha(fitted(PartialPooling("family")), {}, n=3)
    assert got.shape == (4, 200, 3)
    np.testing.assert_array_equal(got[..., 0], got[..., 2])


def test_the_draws_of_an_unseen_group_do_not_depend_on_the_other_rows() -> None:
    fit = fitted(PartialPooling("family"))
    np.testing.assert_array_equal(alpha(fit, {"family": ["x", "new"]})[..., 1], alpha(fit, {"family": ["new"]})[..., 0])


NESTED = {
    "alpha": [0.10, 0.12, 0.30, 0.36],
    "alpha_architecture": [0.11, 0.33],
    "alpha_mu": np.log(0.2),
    "alpha_tau_architecture": 0.5,
    "alpha_tau": 0.1,
}


def test_a_new_family_of_a_fitted_architecture_lies_about_it() -> None:
    fit = fitted(PartialPooling(("architecture", "family")), draws=5000, sd=0.0, **NESTED)
    got = np.log(alpha(fit, {"architecture": ["Y", "X"], "family": ["new", "new"]}))
    assert got[..., 0].mean() == pytest.approx(np.log(0.33), abs=0.005)
    assert got[..., 1].mean() == pytest.approx(np.log(0.11), abs=0.005)
    assert got[..., 0].std() == pytest.approx(0.1, rel=0.03)
    # The families have one name and lie in different architectures: they are different families.
    assert not np.allclose(got[..., 0] - np.log(0.33), got[..., 1] - np.log(0.11))


def test_a_new_architecture_is_drawn_too_and_its_families_share_it() -> None:
    fit = fitted(PartialPooling(("architecture", "family")), draws=5000, sd=0.0, **NESTED)
    got = np.log(alpha(fit, {"architecture": ["Z", "Z"], "family": ["new", "newer"]}))
    assert got[..., 0].mean() == pytest.approx(np.log(0.2), abs=0.02)
    assert got[..., 0].std() == pytest.approx(np.hypot(0.5, 0.1), rel=0.03)
    assert (got[..., 0] - got[..., 1]).std() == pytest.approx(0.1 * np.sqrt(2), rel=0.03)


def test_a_family_is_found_without_its_architecture_and_an_architecture_without_a_family() -> None:
    fit = fitted(PartialPooling(("architecture", "family")), sd=0.0, **NESTED)
    assert alpha(fit, {"family": ["d"]}).mean() == pytest.approx(0.36)
    assert np.log(alpha(fit, {"architecture": ["X"]})).mean() == pytest.approx(np.log(0.11), abs=0.02)


def test_an_unseen_group_of_an_unpooled_parameter_comes_from_the_prior() -> None:
    fit = fitted(NoPooling("family"), draws=20000)
    got = np.log(alpha(fit, {"family": ["b", "new"]}))
    loc, scale, _ = fit.binding.prior_of("alpha")
    np.testing.assert_array_equal(got[..., 0], np.log(fit.posterior["alpha"].sel(family="b").to_numpy()))
    assert got[..., 1].mean() == pytest.approx(loc, abs=4 * scale / np.sqrt(got[..., 1].size))
    assert got[..., 1].std() == pytest.approx(scale, rel=0.02)


def test_unseen_groups_are_refused_by_name() -> None:
    fit = fitted(PartialPooling("family"))
    with pytest.raises(DataError, match="unknown family 'new'"):
        alpha(fit, {"family": ["a", "new"]}, unseen="error")
    with pytest.raises(DataError, match="no 'family' is given in rows 0, 1"):
        alpha(fit, {}, n=2, unseen="error")
    assert alpha(fit, {"family": ["a"]}, unseen="error").shape == (4, 200, 1)
    with pytest.raises(SpecError, match=r"unknown word 'refuse'.*error, population"):
        alpha(fit, {"family": ["a"]}, unseen="refuse")
    nested = fitted(PartialPooling(("architecture", "family")))
    with pytest.raises(DataError, match="family 'a' within Y was not fitted"):
        alpha(nested, {"architecture": ["Y"], "family": ["a"]}, unseen="error")


def test_a_seed_is_a_natural_number() -> None:
    fit = fitted(PartialPooling("family"))
    for bad in (-1, 1.5, True, "1"):
        with pytest.raises(SpecError, match="seed is an integer"):
            predict(fit, {"params": 1e9}, seed=bad)


@pytest.mark.parametrize(
    "pooling", [None, PartialPooling("family"), PartialPooling(("architecture", "family")), NoPooling("family")]
)
def test_fakes_have_the_names_and_shapes_of_the_model_itself(pooling: object) -> None:
    model = ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling)
    fit = fake_fit(model, table())
    with double_precision(), numpyro.validation_enabled():
        sites = trace(seed(model, 0)).get_trace(fit.binding.design)
    reported = {
        name: site["value"].shape
        for name, site in sites.items()
        if site["type"] in ("sample", "deterministic") and not name.endswith("_latent") and name not in ("loss", "loss_mean")
    }
    assert {name: fit.posterior[name].shape[2:] for name in fit.posterior} == reported
    assert set(fit.tree["prior"].data_vars) == set(reported)
    assert set(fit.tree["log_prior"].data_vars) == set(model.assumptions.values())
    assert not fit.convergence.faults
    assert np.isfinite(fit.tree["log_likelihood"]["loss"]).all()
