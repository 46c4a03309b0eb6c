"""Draws of a discrepancy that is kept as coefficients: drift, misfit and effects of runs, at given points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.fit import Fit
from bayescale.models.basis import Frame
from bayescale.models.binding import axis_of_path, basis_columns, make_curves
from bayescale.models.coefficients import slope_roots
from bayescale.models.discrepancy import mean_slope
from bayescale.models.kalman import Drift
from bayescale.models.noise import to_noise_scale
from bayescale.prediction.parameters import generator, parameter_draws
from bayescale.prediction.process import ahead, around
from bayescale.prediction.values import law_values

Array = NDArray[np.float64]


class Coefficients:
    """The coefficients of a fit, in the units of their columns, shape (chain, draw, coefficient)."""

    def __init__(self, fit: Fit) -> None:
        binding, frame, basis = fit.binding, fit.binding.frame, fit.binding.design.basis
        assert frame is not None and basis is not None, "a model whose discrepancy is not filtered has a frame"
        self.fit, self.frame, self.n = fit, frame, len(fit.data.table)
        posterior = fit.posterior
        self.sizes = {n: posterior[n].transpose(CHAIN, DRAW).to_numpy() for part in fit.model.parts for n in part.priors}
        self.columns: Array = np.asarray(basis.columns)[: self.n]
        self.u = np.log(fit.data.table[axis_of_path(fit.model, binding.axes, fit.data)].to_numpy(float))
        given = fit.tree["discrepancy"]["coefficients"].transpose(CHAIN, DRAW, ...).to_numpy()
        self.drift: Array | None = None
        at = 0
        if "drift_size" in self.sizes:
            self.slope = self._slopes(np.asarray(basis.contrast)[:, : self.n], basis.span)
            root = slope_roots(np, basis.behind, {n: v[..., None] for n, v in self.sizes.items()}, self.slope)
            at = root.shape[-3] * frame.knots
            self.drift = np.einsum("...ckj,...cj->...ck", root, given[..., :at].reshape(*given.shape[:2], -1, frame.knots))
        self.misfit, self.tilt = None, None
        if "misfit_size" in self.sizes:
            self.misfit = self.sizes["misfit_size"][..., None] * given[..., at : at + frame.places]
            at += frame.places
        if "misfit_tilt" in self.sizes:
            self.tilt = self.sizes["misfit_tilt"][..., None] * given[..., at : at + frame.places]
            at += frame.places
        self.effects: dict[str, Array] = {}
        for site, runs in frame.labels.items():
            self.effects[site] = self.sizes[site][..., None] * given[..., at : at + len(runs)]
            at += len(runs)

    def _slopes(self, contrast: Array, span: Array) -> Array:
        """Mean slope of the law over each curve, shape (chain, draw, curve)."""
        fit, binding = self.fit, self.fit.binding
        runs = fit.data.table
        ratios = {c: runs[column].to_numpy(float) / binding.reference[c] for c, column in binding.axes.items()}
        law = to_noise_scale(fit.model.noise, law_values(fit.model.law, ratios, parameter_draws(fit, runs, generator(0, 0))))
        slope: Array = np.asarray(mean_slope(np, law @ contrast.T, span))
        return slope

    def draw(self, table: pd.DataFrame, rng: np.random.Generator, *, effects: bool = True) -> Array:
        """Draws of the discrepancy at the rows of a table, shape (chain, draw, point)."""
        fit, frame = self.fit, self.frame
        u = np.log(table[axis_of_path(fit.model, fit.binding.axes, fit.data)].to_numpy(float))
        second, labels = basis_columns(fit.model, table)
        shape = next(iter(self.sizes.values())).shape
        out = np.zeros((*shape, len(table)))
        if self.drift is not None:
            out += self._drift(self.drift, table, u, rng)
        if self.misfit is not None and second is not None:
            out += self._misfit(frame, second, u, rng)
        for site, effect in self.effects.items() if effects else ():
            out += self._effects(site, effect, labels[site], rng)
        return out

    def _drift(self, slopes: Array, table: pd.DataFrame, u: Array, rng: np.random.Generator) -> Array:
        out = np.zeros((*slopes.shape[:2], len(u)))
        columns = self.fit.model.group_columns
        known = curve_keys(self.fit.data.table, columns)
        codes = make_curves(self.fit.model, self.fit.data)
        curve_of = dict(zip(known, codes, strict=True))
        keys = curve_keys(table, columns)
        for key in dict.fromkeys(keys):
            here = np.flatnonzero([k == key for k in keys])
            curve = curve_of.get(key)
            if curve is None:
                out[..., here] = around(self._process(self.slope.mean(axis=-1)), float(self.u.max()), u[here], rng)
                continue
            top = self.frame.tops[curve]
            inside = here[u[here] <= top]
            rows = self.frame.integral(u[inside], np.full(len(inside), curve))
            out[..., inside] = slopes[..., curve, :] @ rows.T
            # The end of the curve is the first knot; from there the slope goes on as it came.
            beyond = here[u[here] > top]
            start = np.zeros_like(slopes[..., 0, 0]), slopes[..., curve, 0]
            further = np.zeros((*slopes.shape[:2], len(beyond)))
            ahead(self._process(self.slope[..., curve]), start, top, u[beyond], further, rng)
            out[..., beyond] = further
        return out

    def _process(self, slope: Array) -> Drift:
        return Drift(self.sizes["drift_rate"], self.sizes["drift_size"] * slope)

    def _misfit(self, frame: Frame, second: Array, u: Array, rng: np.random.Generator) -> Array:
        columns, left = frame.smooth(second)
        beyond = u - self.u.max()
        out: Array = np.asarray(self.misfit) @ (columns - frame.anchor).T
        scale = self.sizes["misfit_size"][..., None] * np.ones(len(second))
        if self.tilt is not None:
            rate = self.sizes["drift_rate"][..., None] if "drift_rate" in self.sizes else np.full((1, 1, 1), 1e-9)
            # Ahead of the runs the change with scale bends back as a drift does.
            far = np.where(beyond > 0, -np.expm1(-rate * np.maximum(beyond, 0)) / rate, beyond) / frame.depth
            out = out + (self.tilt @ columns.T) * far
            scale = np.hypot(scale, self.sizes["misfit_tilt"][..., None] * far)
        # Beyond the ratios that were seen the function is new; to either side it is one function.
        ratio = frame.ratio(second)
        z = rng.standard_normal((2, *out.shape[:2], 1))
        misfit: Array = out + scale * np.sqrt(left) * np.where(ratio > 0.5, z[0], z[1])
        return misfit

    def _effects(self, site: str, effect: Array, labels: list[str], rng: np.random.Generator) -> Array:
        places = {label: i for i, label in enumerate(self.frame.labels[site])}
        unknown = dict.fromkeys(label for label in labels if label not in places)
        new = {label: self.sizes[site] * rng.standard_normal(effect.shape[:2]) for label in unknown}
        return np.stack([effect[..., places[label]] if label in places else new[label] for label in labels], axis=-1)


def curve_keys(table: pd.DataFrame, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Labels of the curve of each row."""
    parts = [table[c].astype(str) if c in table else pd.Series("", index=table.index) for c in columns]
    return list(zip(*parts, strict=True)) if parts else [()] * len(table)
