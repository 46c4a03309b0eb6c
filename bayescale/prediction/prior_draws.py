"""A fit to no runs: what a model believes of planned runs, as prior draws that answer like posterior ones."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr
from numpyro.handlers import seed as seed_sites
from numpyro.handlers import trace

from bayescale.core.errors import SpecError
from bayescale.core.numerics import double_precision, to_numpy
from bayescale.infer.cache import compilation_cache_of_ours
from bayescale.infer.fit import Fit, read_runs
from bayescale.infer.sample import random_keys
from bayescale.infer.tree import constant_data, coordinates, draws_dataset, parameter_dims, runs_dataset
from bayescale.laws.base import LawFunction
from bayescale.models.binding import bind
from bayescale.models.design import Design
from bayescale.models.scaling import ScalingModel

#: Chains, and draws of each, of a prior.
CHAINS, DRAWS = 4, 250

#: What the response is called while the prior is drawn: no parameter of a law bears this name.
SITE = "planned_response"


def prior_fit(
    model: ScalingModel, planned: pd.DataFrame, *, response: str = "loss", typical: float = 1.0, seed: int = 0
) -> Fit:
    """A fit whose ``posterior`` is the prior: the model bound to planned runs, none of which has a response.

    Parameters
    ----------
    model : ScalingModel
    planned : DataFrame
        Covariates and groups, one planned run a row. The reference run is their geometric mean.
    response : str
    typical : float
        Size of the response that is expected, for laws that state their levels in multiples of it.
    seed : int

    Returns
    -------
    Fit
        For :func:`bayescale.predict` and whatever else takes draws; nothing was learnt, so nothing in it is to be reviewed.

    Raises
    ------
    DataError, SpecError
        When the model does not suit the table, or has a drift that is filtered along fitted runs, of which there are none.
    """
    if model.discrepancy is not None and model.filtered:
        raise SpecError(
            "before any run exists a drift under normal noise has no runs to go along: plan without discrepancy, or with "
            "StudentT noise"
        )
    # Told apart by rounding alone, so that two planned runs of one size are replicates and not one run entered twice.
    told = typical * (1 + 1e-9 * np.arange(len(planned)))
    runs = read_runs(model, planned.assign(**{response: told}), response=response)
    binding = bind(model, runs)
    rng = np.random.default_rng([seed, 3])
    with double_precision(), compilation_cache_of_ours():
        design = jax.tree.map(jax.numpy.asarray, binding.design)
        keys = random_keys(rng, CHAINS * DRAWS)
        sampled = to_numpy(_program(model, model.law.function)(keys, design))
        drawn = {n: v.reshape(CHAINS, DRAWS, *v.shape[1:]) for n, v in sampled.items()}
    dims, coords = parameter_dims(binding), coordinates(binding, runs)
    prior = draws_dataset(drawn, dims, coords)
    groups = {"prior": prior, "posterior": prior, "constant_data": constant_data(binding, runs), "runs": runs_dataset(runs)}
    if (basis := binding.design.basis) is not None:
        z = rng.standard_normal((CHAINS, DRAWS, basis.columns.shape[1]))
        groups["discrepancy"] = draws_dataset({"coefficients": z}, {"coefficients": ("coefficient",)}, {})
    tree = xr.DataTree.from_dict(groups)
    tree.attrs |= {"seed": seed, "sampler": "prior", "digest": runs.digest, "interrupted": 0}
    return Fit(model, runs, tree)


@lru_cache(maxsize=16)
def _program(model: ScalingModel, function: LawFunction) -> Any:
    """Draws of a model, compiled once; by the law's function too, which a notebook may define anew under the same text."""
    # The compiler's optimiser takes longer than the draws.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(jax.vmap(partial(_sampled, model), (0, None)), compiler_options=options)


def _sampled(model: ScalingModel, key: Any, design: Design) -> dict[str, Any]:
    """One draw of everything that a fit reports."""
    made = trace(seed_sites(model, key)).get_trace(design, SITE)
    kept = {n: site["value"] for n, site in made.items() if site["type"] in ("sample", "deterministic")}
    # What a model records of the rows is named after the response; what it samples itself, `_latent`.
    return {n: value for n, value in kept.items() if not (n == SITE or n.startswith(f"{SITE}_") or n.endswith("_latent"))}
