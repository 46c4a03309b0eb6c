"""Coordinates in which the posterior is about a standard normal, so that one step size suits every direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy.linalg import cholesky

#: Curvatures below this are taken for it: along a direction that the data leave open the prior has about unit scale.
_LEAST_CURVATURE = 0.05

#: Skewness is read off the outer twentieths: there the standard normal has +-1.645.
_TAIL, _AT = 0.05, 1.6448536269514722
_SHARE = (np.sqrt(1 + _AT**2) - 1) / _AT
#: tanh of the largest skewness: one side is some ten times as long as the other.
_MOST = 0.85


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Whitening:
    """``y = center + root z`` and, coordinate by coordinate, ``flat = middle + scale [sinh(asinh(y) + skew) - sinh(skew)]``.

    The second step is the identity where ``skew`` is 0. It stretches one side and shortens the other: the logarithm of a
    quantity that the data only bound from above has a long tail below, and a wall above :cite:p:`jones2009`.
    """

    center: Any
    root: Any
    middle: Any
    scale: Any
    skew: Any

    def flat(self, xp: Any, z: Any) -> tuple[Any, Any]:
        """The unconstrained vector at whitened coordinates, and the logarithm of the stretch, up to a constant."""
        y = self.center + self.root @ z
        turned = xp.arcsinh(y) + self.skew
        log_stretch = xp.sum(xp.log(xp.cosh(turned)) - xp.log1p(y**2) / 2)
        return self.middle + self.scale * (xp.sinh(turned) - xp.sinh(self.skew)), log_stretch

    def z(self, flat: np.ndarray) -> np.ndarray:
        """Whitened coordinates of unconstrained vectors (the last axis)."""
        y = _unskew(flat, self.middle, self.scale, self.skew)
        z: np.ndarray = np.linalg.solve(self.root, (y - self.center).reshape(-1, y.shape[-1]).T)
        return np.ascontiguousarray(z.T).reshape(flat.shape)

    def correlations(self) -> np.ndarray:
        """Correlations (dim, dim) of the coordinates before they are skewed, where whitened ones are independent."""
        covariance = self.root @ self.root.T
        sd = np.sqrt(np.diag(covariance))
        found: np.ndarray = covariance / np.outer(sd, sd)
        return found


def whiten(mode: np.ndarray, hessian: np.ndarray) -> Whitening:
    """Coordinates in which the normal approximation at the mode is standard."""
    curvature, axes = np.linalg.eigh(hessian)
    dim = len(mode)
    root = axes / np.sqrt(np.maximum(curvature, _LEAST_CURVATURE))
    return Whitening(mode, root, np.zeros(dim), np.ones(dim), np.zeros(dim))


def learn(draws: np.ndarray, before: Whitening | None = None, worth: float | None = None) -> Whitening:
    """Coordinates learnt from draws (draw, dim) of all chains.

    Parameters
    ----------
    before : Whitening, optional
        Coordinates whose correlations are believed until draws say otherwise: few draws a parameter tell theirs badly.
    worth : float, optional
        How many independent draws they are worth; by default as many as there are.

    Notes
    -----
    The covariance is shrunk towards its diagonal, or towards the correlations from before, which count for ``dim + 5`` draws,
    as in Stan :cite:p:`stan`.
    """
    low, middle, high = np.quantile(draws, [_TAIL, 0.5, 1 - _TAIL], axis=0)
    below, above = np.maximum(middle - low, 1e-300), np.maximum(high - middle, 1e-300)
    skew = np.arctanh(np.clip((above - below) / (above + below) / _SHARE, -_MOST, _MOST))
    scale = (high - low) / (2 * _AT * np.cosh(skew))
    scale = np.where(scale > 0, scale, 1.0)
    y = _unskew(draws, middle, scale, skew)
    n, dim = len(y) if worth is None else worth, y.shape[1]
    covariance = np.cov(y, rowvar=False).reshape(dim, dim)
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    believed = np.eye(dim) if before is None else before.correlations()
    covariance = (n * covariance + (dim + 5) * believed * np.outer(sd, sd)) / (n + dim + 5)
    return Whitening(y.mean(axis=0), cholesky(covariance, lower=True), middle, scale, skew)


def _unskew(flat: np.ndarray, middle: np.ndarray, scale: np.ndarray, skew: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.sinh(np.arcsinh((flat - middle) / scale + np.sinh(skew)) - skew)
    return y
