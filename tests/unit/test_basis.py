"""A discrepancy's columns: against integrals, at the reference runs, in padded rows and beyond the runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import integrate

import bayescale as bs
from bayescale.data.runs import Runs
from bayescale.models.basis import KNOTS, LEAST, LENGTH, MISFIT_KNOTS, MOST, Frame, make_basis, make_frame
from bayescale.models.binding import bind
from bayescale.models.design import Basis

Array = NDArray[np.float64]
N, ROWS = 19, 32
RNG = np.random.default_rng(3)
MIXED = RNG.permutation(N)
#: Two curves of 12 and 7 runs, shuffled; a second axis; four runs with effects.
U = np.r_[np.linspace(0, 5, 12), np.linspace(1, 4, 7)][MIXED]
CURVE = np.r_[np.zeros(12, int), np.ones(7, int)][MIXED]
SECOND = RNG.uniform(1, 4, N)
RUNS = RNG.choice(["a", "b", "c", "d"], N).tolist()
NEAR = np.sort(U)[-3] <= U


def both(tilts: bool = True, rows: int = ROWS) -> tuple[Frame, Basis]:
    frame = make_frame(U, CURVE, NEAR, SECOND, {"effect_size": RUNS}, drifts=True, tilts=tilts)
    return frame, make_basis(frame, U, CURVE, SECOND, {"effect_size": RUNS}, rows)


def slices(frame: Frame) -> dict[str, slice]:
    """Where the columns of each part lie."""
    sizes = {
        "drift": 2 * frame.knots,
        "misfit": frame.places,
        "tilt": frame.places * frame.tilts,
        "effect": len(frame.labels["effect_size"]),
    }
    ends = np.cumsum([0, *sizes.values()])
    return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(sizes)}


class TestDrift:
    def test_columns_are_integrals_of_piecewise_linear_slopes(self) -> None:
        frame, basis = both()
        slopes = RNG.normal(size=(2, frame.knots))
        found = basis.columns[:N, slices(frame)["drift"]] @ slopes.ravel()
        for i in range(N):
            c = CURVE[i]
            knots = frame.tops[c] - basis.behind[c]
            inside = knots[(knots > U[i]) & (knots < frame.tops[c])]
            area, _ = integrate.quad(
                lambda u, c=c, knots=knots: np.interp(u, knots[::-1], slopes[c, ::-1]),
                U[i],
                frame.tops[c],
                points=inside if len(inside) else None,
            )
            assert found[i] == pytest.approx(-area, abs=1e-10)

    def test_below_the_runs_the_last_slope_goes_on(self) -> None:
        """Points that were not fitted, and a frame whose knots end before them."""
        frame, _ = both()
        at = np.array([-1.0, -3.0])
        last = np.diff(frame.integral(at, np.array([0, 0])), axis=0)[0]
        np.testing.assert_allclose(last[:-1], 0.0, atol=1e-12)
        assert last[-1] == pytest.approx(-2.0)
        assert not frame.integral(np.array([7.0]), np.array([0])).any()  # beyond the end nothing is said

    def test_knots_span_each_curve_and_are_shared_out(self) -> None:
        frame, basis = both()
        assert frame.knots == MOST
        np.testing.assert_allclose(frame.tops, [5, 4])
        np.testing.assert_allclose(frame.tops - basis.behind[:, -1], [0, 1])
        many = np.repeat(np.arange(20), 3)
        crowd = make_frame(np.tile([0.0, 1, 2], 20), many, many >= 0, None, {}, drifts=True, tilts=False)
        assert crowd.knots == LEAST
        ten = make_frame(np.tile([0.0, 1, 2], 8), many[:24], many[:24] >= 0, None, {}, drifts=True, tilts=False)
        assert ten.knots * 8 == KNOTS

    def test_the_contrast_is_the_laws_fall_over_the_span(self) -> None:
        _, basis = both()
        for c, length, low, high in ((0, 12, 3, 1), (1, 7, 1, 1)):
            u = np.sort(U[c == CURVE])
            assert len(u) == length
            assert basis.span[c] == pytest.approx(u[-high:].mean() - u[:low].mean())
            fall = basis.contrast[c, :N] @ (3.0 - 0.2 * U + 100.0 * (c != CURVE))
            assert fall == pytest.approx(0.2 * basis.span[c])


class TestMisfit:
    def test_is_nought_on_average_at_the_reference_runs(self) -> None:
        frame, basis = both()
        misfit = basis.columns[:N, slices(frame)["misfit"]]
        np.testing.assert_allclose(misfit[NEAR].mean(axis=0), 0.0, atol=1e-12)
        assert np.abs(misfit[NEAR]).max() > 0.01  # on average, not at each
        assert np.abs(misfit[~NEAR].mean(axis=0)).max() > 0.01

    def test_columns_have_the_kernel_of_the_stated_length(self) -> None:
        frame, _ = both()
        columns, left = frame.smooth(SECOND)
        ratio = (SECOND - SECOND.min()) / np.ptp(SECOND)
        kernel = np.exp(-((ratio[:, None] - ratio) ** 2) / (2 * LENGTH**2))
        # Five places leave open less than two per cent of the variance anywhere between them.
        np.testing.assert_allclose(columns @ columns.T, kernel, atol=0.02)
        np.testing.assert_allclose((columns**2).sum(axis=1) + left, 1.0, rtol=1e-6)
        assert left.max() < 0.02

    def test_beyond_the_ratios_the_prior_is_kept(self) -> None:
        frame, _ = both()
        reach = np.ptp(SECOND)
        columns, left = frame.smooth(np.array([SECOND.min() - 3 * reach, SECOND.max() + 0.3 * reach, SECOND.max() + 3 * reach]))
        np.testing.assert_allclose(left[[0, 2]], 1.0)
        np.testing.assert_allclose(columns[[0, 2]], 0.0, atol=1e-6)
        assert 0.1 < left[1] < 0.9  # between what was seen and what was not
        np.testing.assert_allclose((columns**2).sum(axis=1) + left, 1.0, rtol=1e-6)

    def test_its_change_with_scale_is_nought_at_the_largest_run(self) -> None:
        frame, basis = both()
        tilt, free = basis.columns[:N, slices(frame)["tilt"]], frame.smooth(SECOND)[0]
        np.testing.assert_allclose(tilt, free * ((U - 5.0) / 5.0)[:, None])
        assert not tilt[np.argmax(U)].any()
        np.testing.assert_allclose(tilt[np.argmin(U)], -free[np.argmin(U)])
        assert both(tilts=False)[1].columns.shape[1] == basis.columns.shape[1] - MISFIT_KNOTS


def test_effects_are_of_each_run() -> None:
    frame, basis = both()
    effect = basis.columns[:N, slices(frame)["effect"]]
    assert frame.labels["effect_size"] == tuple(dict.fromkeys(RUNS))
    assert [frame.labels["effect_size"][i] for i in effect.argmax(axis=1)] == RUNS
    np.testing.assert_array_equal(effect.sum(axis=1), 1.0)


def test_padding_adds_nothing() -> None:
    (_, long), (_, short) = both(), both(rows=N)
    for name in ("columns", "products"):
        np.testing.assert_array_equal(getattr(long, name)[:N], getattr(short, name))
        assert not getattr(long, name)[N:].any()
    np.testing.assert_array_equal(long.contrast[:, :N], short.contrast)
    assert not long.contrast[:, N:].any()
    np.testing.assert_array_equal(long.span, short.span)


def test_products_are_those_of_every_pair() -> None:
    _, basis = both()
    weight = RNG.uniform(size=ROWS)
    size = basis.columns.shape[1]
    gram = np.zeros((size, size))
    gram[np.triu_indices(size)] = weight @ basis.products
    np.testing.assert_allclose(gram, np.triu(basis.columns.T @ (weight[:, None] * basis.columns)), atol=1e-12)


@pytest.mark.parametrize("drifts", [False, True])
@pytest.mark.parametrize("second", [None, SECOND[:4]])
@pytest.mark.parametrize("runs", [{}, {"effect_size": ["a", "a", "b", "c"]}])
def test_only_the_parts_that_there_are_have_columns(drifts: bool, second: Array | None, runs: dict[str, list[str]]) -> None:
    u, curve = np.arange(4.0), np.zeros(4, int)
    frame = make_frame(u, curve, u >= 2, second, runs, drifts=drifts, tilts=False)
    basis = make_basis(frame, u, curve, second, runs, 16)
    expected = MOST * drifts + MISFIT_KNOTS * (second is not None) + 3 * len(runs)
    assert basis.columns.shape == (16, expected)


def test_a_curve_of_one_scale_has_no_nan() -> None:
    """A whole table of one scale, and one curve of a single run beside another; one value of the second axis."""
    u, curve = np.array([2.0, 2.0, 1.0, 3.0]), np.array([0, 0, 1, 1])
    for rows in (slice(0, 2), slice(0, 4)):
        second = np.full(4, 1.5)[rows]
        frame = make_frame(u[rows], curve[rows], u[rows] > 0, second, {}, drifts=True, tilts=True)
        basis = make_basis(frame, u[rows], curve[rows], second, {}, 16)
        for name in ("columns", "products", "behind", "contrast", "span"):
            assert np.isfinite(getattr(basis, name)).all(), name
        assert (frame.steps > 0).all()
        assert basis.span[0] == 0
        assert not basis.contrast[0].any()
        assert not basis.columns[:2, : frame.knots].any()
        assert np.isfinite(frame.smooth(np.array([0.0, 1.5, 9.0]))[0]).all()


def test_the_frame_of_a_binding_is_laid_over_the_fitted_runs() -> None:
    frame = pd.DataFrame({"params": [1e8, 1e9, 1e9, 1e10], "tokens": [1e9, 1e10, 2e10, 1e12], "loss": [3.0, 2.6, 2.5, 2.2]})
    model = bs.ScalingModel("chinchilla", discrepancy=(bs.SlopeDrift(along="params"), bs.SmoothMisfit()))
    bound = bind(model, Runs.from_frame(frame))
    assert bound.frame is not None and bound.design.basis is not None
    assert np.exp(bound.frame.tops[0]) == pytest.approx(1e10)
    assert np.exp(bound.frame.low) == pytest.approx(10.0)
    assert np.exp(bound.frame.low + bound.frame.range) == pytest.approx(100.0)
    assert bound.design.basis.columns.shape == (16, MOST + MISFIT_KNOTS)
    assert bound.design.path is None
