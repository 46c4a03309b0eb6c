"""``classical``: a paper's constants, at covariate = 1, from amplitudes at the reference run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.fit import Fit
from bayescale.models.groups import Level


def classical(fit: Fit) -> xr.Dataset:
    """Posterior of a law's parameters in the form of its paper.

    An amplitude that decays as ``x^-alpha`` is stated at the reference run ``x0``; the paper's is ``A x0^alpha``, at x = 1.
    The two say the same, but the paper's is almost perfectly correlated with the exponent.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Dataset
        The law's parameters, and those of the noise, dims (chain, draw[, group]); an amplitude is over its own groups and
        those of its exponent. Attribute ``at_reference`` lists parameters that stay at the reference run, since their law does
        not say how they move (``bnsl``, ``gadre_overtrain``), and ``<covariate>_reference`` the reference run.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> constants = bs.classical(fitted)
    >>> bool((constants["A"] > fitted.posterior["A"]).all())
    True
    """
    posterior, params, reference = fit.posterior, fit.model.law.params, fit.binding.reference
    out: dict[str, xr.DataArray] = {}
    for name, param in params.items():
        value = posterior[name]
        for covariate, exponent in param.decays.items():
            value, rate = _together(fit, value, name, exponent)
            value = value * reference[covariate] ** rate
        out[name] = value.transpose(CHAIN, DRAW, ...).assign_attrs({"units": param.unit} if param.unit else {})
    out |= {name: posterior[name] for name in (*fit.model.noise.priors, "nu") if name in posterior}
    made = xr.Dataset(out)
    stay = [n for n, p in params.items() if not p.decays and "reference" in p.doc]
    origin = {f"{c}_reference": float(value) for c, value in reference.items()}
    return made.assign_attrs(law=fit.model.law.name, at_reference=stay, **origin)


def _together(fit: Fit, value: xr.DataArray, name: str, exponent: str) -> tuple[xr.DataArray, xr.DataArray]:
    """An amplitude and its exponent over groups in which both are known.

    Where every group of one lies in a single group of the other, those are the finer groups; where they cross, every
    combination.
    """
    rate = fit.posterior[exponent]
    ours, theirs = fit.binding.level(name), fit.binding.level(exponent)
    if ours is None or theirs is None or ours.dim == theirs.dim or theirs.dim in value.dims or ours.dim not in value.dims:
        return value, rate
    if (inside := _inside(fit, ours, theirs)) is not None:
        return value, _spread(rate, theirs, ours, inside, value)
    if (inside := _inside(fit, theirs, ours)) is not None:
        return _spread(value, ours, theirs, inside, rate), rate
    return value, rate


def _inside(fit: Fit, fine: Level, coarse: Level) -> np.ndarray | None:
    """Group of ``coarse`` in which each group of ``fine`` lies; None where one lies in several."""
    rows = np.unique(np.stack([fine.codes(fit.data.table), coarse.codes(fit.data.table)]), axis=1)
    return rows[1] if len(np.unique(rows[0])) == rows.shape[1] else None


def _spread(value: xr.DataArray, coarse: Level, fine: Level, inside: np.ndarray, like: xr.DataArray) -> xr.DataArray:
    """Values of coarse groups at each of the fine groups."""
    taken = value.transpose(..., coarse.dim).to_numpy()[..., inside]
    dims = (*(d for d in value.dims if d != coarse.dim), fine.dim)
    coords = {d: value.coords[d] for d in dims[:-1] if d in value.coords}
    return xr.DataArray(taken, dims=dims, coords={**coords, fine.dim: like.coords[fine.dim]})
