"""The specification itself: what it refuses, what it equals, and that it is a NumPyro model like any other."""

from __future__ import annotations

import jax
import numpy as np
import numpyro
import pandas as pd
import pytest
from numpyro.handlers import seed, trace
from numpyro.infer import MCMC, NUTS

from bayescale.core.errors import SpecError
from bayescale.data.runs import Runs
from bayescale.laws.param import Param
from bayescale.models.binding import bind
from bayescale.models.design import Design
from bayescale.models.noise import Gaussian, StudentT
from bayescale.models.pooling import CompletePooling, NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel


def design(model: ScalingModel) -> Design:
    params = np.logspace(8, 10, 8)
    frame = pd.DataFrame({"params": params, "loss": 2.0 * (params / 1e9) ** -0.2, "family": list("aaabbbcc")})
    return bind(model, Runs.from_frame(frame)).design


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"law": "chinchila"}, r"'chinchila'\. Did you mean 'chinchilla'"),
        ({"axes": {"y": "params"}}, r"axes: .*'y'.*Valid: x"),
        ({"pooling": {"alfa": NoPooling("family")}}, r"pooling: .*'alfa'\. Did you mean 'alpha'"),
        ({"pooling": {"alpha": "family"}}, r"'alpha' is 'family', not a Pooling"),
        ({"priors": "weka"}, r"'weka'\. Did you mean 'weak'"),
        ({"priors": {"beta": Param.positive(0.3, 0.1)}}, r"priors: .*'beta'"),
        ({"priors": {"alpha": Param.real(0.3, 0.1)}}, r"'alpha' is on the identity scale, the law's on the log scale"),
        ({"noise": "normal"}, "noise is a StudentT, a Gaussian, a BestSoFar or a BestOf, got str"),
        ({"law": 3}, "got int"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_valid_names(arguments: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        ScalingModel(**{"law": "power_law", **arguments})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        ScalingModel("power_law", axes={"y": "a"}, pooling={"b": NoPooling("family")}, priors={"c": Param.positive(1, 1)})
    assert all(word in str(caught.value) for word in ("'y'", "'b'", "'c'"))


@pytest.mark.parametrize("by", [(), "", ("a", "a"), ("a", 1)])
@pytest.mark.parametrize("kind", [PartialPooling, NoPooling])
def test_groups_that_make_no_sense(kind: type, by) -> None:
    with pytest.raises(SpecError, match="by"):
        kind(by)


def test_equal_when_they_say_the_same() -> None:
    one = ScalingModel("power_law", pooling={"A": PartialPooling("family")}, axes={"x": "params"})
    two = ScalingModel(
        "power_law", axes={"x": "params"}, pooling={"alpha": CompletePooling(), "A": PartialPooling(("family",))}
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one == ScalingModel("power_law", axes={"x": "params"}, pooling=one.pooling, reasons=("why",))
    for other in (
        ScalingModel("power_law", axes={"x": "params"}),
        ScalingModel("power_law", axes={"x": "tokens"}, pooling=one.pooling),
        ScalingModel("power_law", axes={"x": "params"}, pooling=one.pooling, noise=Gaussian()),
        ScalingModel("power_law_offset", axes={"x": "params"}, pooling=one.pooling),
        ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("family")}),
        ScalingModel("power_law", axes={"x": "params"}, pooling=one.pooling, priors={"alpha": Param.positive(0.1, 0.1)}),
    ):
        assert one != other


def test_one_pooling_for_all_parameters() -> None:
    model = ScalingModel("chinchilla", pooling=PartialPooling("family"))
    assert set(model.pooling) == set(model.law.params)
    assert model.dims == model.group_columns == ("family",)


def test_assumptions_are_what_groups_do_not_teach() -> None:
    pooling = {"A": PartialPooling(("arch", "family")), "E": NoPooling("text")}
    model = ScalingModel("power_law_offset", pooling=pooling)
    assert set(model.assumptions.values()) == {"A_mu", "A_tau", "A_tau_arch", "E", "alpha", "sigma", "nu"}
    assert "nu" not in ScalingModel("power_law", noise=StudentT(df=4.0)).assumptions


@pytest.mark.parametrize("pooling", [None, PartialPooling("family"), NoPooling("family")], ids=["complete", "partial", "none"])
def test_is_a_numpyro_model(pooling) -> None:
    model = ScalingModel("power_law_offset", pooling=pooling)
    made = trace(seed(model, jax.random.key(0))).get_trace(design(model))
    assert made["loss"]["is_observed"]
    assert np.isfinite(made["loss"]["fn"].log_prob(made["loss"]["value"])[:8]).all()
    assert not made["loss"]["fn"].log_prob(made["loss"]["value"])[8:].any()  # padded rows
    sampled = {name for name, site in made.items() if site["type"] == "sample" and not site["is_observed"]}
    assert set(model.assumptions) <= sampled
    assert made["loss_mean"]["type"] == "deterministic"


def test_takes_the_name_of_the_response() -> None:
    model = ScalingModel("power_law")
    made = trace(seed(model, jax.random.key(0))).get_trace(design(model), response="error")
    assert {"error", "error_mean"} <= set(made)


@pytest.mark.slow
def test_numpyros_own_sampler_runs_it() -> None:
    model = ScalingModel("power_law", pooling={"A": PartialPooling("family")})
    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=200, progress_bar=False)
    mcmc.run(jax.random.key(0), design(model))
    alpha = mcmc.get_samples()["alpha"]
    assert abs(float(alpha.mean()) - 0.2) < 0.02
    assert numpyro.diagnostics.split_gelman_rubin(np.asarray(alpha)[None]) < 1.1
