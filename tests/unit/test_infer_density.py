"""The flat log density against NumPyro's own."""

from __future__ import annotations

from itertools import pairwise

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro.infer.util import potential_energy

from bayescale.core.numerics import double_precision
from bayescale.data.runs import Runs
from bayescale.infer.density import dimension, latent_sites, potential
from bayescale.models.binding import bind
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel

#: Compiling takes longer than running.
FAST = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def bound():
    params = np.logspace(8, 10, 8)
    frame = pd.DataFrame({"params": params, "loss": 2.0 * (params / 1e9) ** -0.2, "family": list("aaabbbcc")})
    model = ScalingModel("power_law", pooling={"A": PartialPooling("family")})
    return model, bind(model, Runs.from_frame(frame)).design


def test_sites_are_found_in_order_and_fill_the_vector(bound) -> None:
    sites = latent_sites(*bound)
    assert {site.name: site.shape for site in sites} == {
        "A_mu": (),
        "A_tau": (),
        "A_latent": (3,),
        "alpha_latent": (1,),
        "sigma": (),
        "nu": (),
    }
    assert sites[0].start == 0
    assert all(one.stop == two.start for one, two in pairwise(sites))
    assert dimension(sites) == sites[-1].stop == 8
    assert dimension(()) == 0


def test_finding_them_computes_nothing(bound, monkeypatch) -> None:
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(count := lambda name, *_, **__: compiled.append(name))
    try:
        latent_sites(*bound)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert not [name for name in compiled if "backend_compile" in name]


def test_energy_is_numpyros(bound) -> None:
    model, design = bound
    with double_precision():
        sites = latent_sites(model, design)
        flat = np.random.default_rng(0).standard_normal(dimension(sites))
        named = {site.name: flat[site.start : site.stop].reshape(site.shape) for site in sites}
        ours = jax.jit(potential(model, sites), compiler_options=FAST)(flat, design)
        theirs = jax.jit(lambda at: potential_energy(model, (design,), {}, at), compiler_options=FAST)(named)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_unconstrain_undoes_constrain(bound) -> None:
    with double_precision():
        sites = latent_sites(*bound)
        flat = np.random.default_rng(0).standard_normal(dimension(sites))
        back = np.concatenate([site.unconstrain(site.constrain(flat)) for site in sites])
    np.testing.assert_allclose(back, flat, rtol=1e-9)
