"""Built-in laws against published numbers, each other, and formulas written independently in NumPy and SciPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit

from bayescale.core.numerics import double_precision, to_numpy
from bayescale.laws.base import get_law
from bayescale.laws.one_variable import log_breaks
from bayescale.laws.saturation import saturating_share

PF_DAY = 8.64e19
X = np.geomspace(1e-3, 1e3, 13)
N, D = np.meshgrid(np.geomspace(1e-2, 1e2, 7), np.geomspace(1e-2, 1e2, 7))


def at(name, *covariates, **params):
    with double_precision():
        return to_numpy(get_law(name)(*covariates, **params))


# --- numbers computed from published constants, at covariates of 1, moved to a reference run -----------------------------


@pytest.mark.parametrize("x0", [1.0, 3e8])
@pytest.mark.parametrize(
    ("x_c", "alpha", "x", "expected"),
    [(8.8e13, 0.076, 1e9, 88000**0.076), (5.4e13, 0.095, 1e10, 5400**0.095), (3.1e8 * PF_DAY, 0.050, PF_DAY, 3.1e8**0.05)],
)
def test_power_law_of_kaplan(x0, x_c, alpha, x, expected):
    assert at("power_law", x / x0, A=(x_c / x0) ** alpha, alpha=alpha) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("x0", [1.0, 2e7])
def test_power_law_offset_of_henighan_for_images(x0):
    assert at("power_law_offset", 1e9 / x0, E=2.20, A=(63 / x0) ** 0.13, alpha=0.13) == pytest.approx(2.3159, abs=5e-5)
    c_scale = 3.6e-9 * PF_DAY
    by_compute = at("power_law_offset", PF_DAY / x0, E=2.21, A=(c_scale / x0) ** 0.10, alpha=0.10)
    assert by_compute == pytest.approx(2.3531, abs=5e-5)


@pytest.mark.parametrize("reference", [(1.0, 1.0), (7e8, 3e10)])
@pytest.mark.parametrize(
    ("E", "A", "B", "alpha", "beta", "expected"),
    [(1.69, 406.4, 410.7, 0.34, 0.28, 2.580048), (1.8172, 482.01, 2085.43, 0.3478, 0.3658, 2.530050)],
    ids=["hoffmann2022", "besiroglu2024"],
)
def test_chinchilla_of_its_fits(reference, E, A, B, alpha, beta, expected):
    n0, d0 = reference
    here = {"E": E, "A": A * n0**-alpha, "B": B * d0**-beta, "alpha": alpha, "beta": beta}
    assert at("chinchilla", 1e9 / n0, 2e10 / d0, **here) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("reference", [(1.0, 1.0), (7e8, 3e10)])
def test_kaplan_nd_of_its_joint_fit(reference):
    n0, d0 = reference
    A, B = (6.4e13 / n0) ** 0.076, (1.8e13 / d0) ** 0.103
    loss = at("kaplan_nd", 1e9 / n0, 1e10 / d0, A=A, B=B, alpha=0.076, beta=0.103)
    assert loss == pytest.approx(2.41965, abs=5e-6)


@pytest.mark.parametrize("reference", [(1.0, 1.0), (2e20, 35.0)])
def test_gadre_overtrain_of_c4(reference):
    c0, m0 = reference
    A, B = 141.3 * c0**-0.1212 * m0**0.1212, 189.5 * c0**-0.1212 * m0**-0.1212
    assert at("gadre_overtrain", 1e21 / c0, 20 / m0, E=1.508, A=A, B=B, eta=0.1212) == pytest.approx(2.462530, abs=1e-6)


@pytest.mark.parametrize("x0", [1.0, 500.0])
@pytest.mark.parametrize(("a", "expected"), [(0.7, 0.405439), (1.0, 0.366667)])
def test_m4_saturating_of_the_catalogue(x0, a, expected):
    E, R, B, c = 0.1, 0.8, 50.0, 0.5
    A = B * R ** (a - 1) * x0**-c
    assert at("m4_saturating", 1e4 / x0, E=E, R=R, A=A, alpha=c, a=a) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("x0", [1.0, 40.0])
@pytest.mark.parametrize(
    ("c", "a", "d", "b", "expected"), [(0.09, 0.26, 0.01, 0.35, 0.349096), (0.12, 0.63, 0.52, 0.32, 0.670999)]
)
def test_double_saturating_of_imagenet(x0, c, a, d, b, expected):
    assert at("double_saturating", 1 / x0, E=c, A=a * x0**-b, alpha=b, d=d / x0) == pytest.approx(expected, abs=1e-6)


def test_three_breaks_of_caballero_figure_1():
    breaks = [(0.49, 3e6, 1.1), (-0.811, 1e14, 1.425), (2.1, 2e20, 0.05)]
    with double_precision():
        log_x = np.log([1e3, 1e10, 1e16, 1e21])
        y = 1e-3 + 4.66e3 * np.exp(-0.05 * log_x + to_numpy(log_breaks(log_x, breaks)))
    np.testing.assert_allclose(y, [3297.802, 27.722113, 0.6986126, 0.5154515], rtol=2e-7)


@pytest.mark.parametrize("reference", [(1.0, 1.0), (7e8, 3e10)])
@pytest.mark.parametrize(
    ("params", "tokens", "unique", "expected"), [(6.34e9, 242e9, 25e9, 2.2256441), (8.67e9, 178e9, 25e9, 2.2269634)]
)
def test_data_constrained_of_muennighoff(reference, params, tokens, unique, expected):
    n0, d0 = reference
    alpha = 0.3526596
    A, B = np.exp(6.255414) * n0**-alpha, np.exp(7.3049974) * d0**-alpha
    shared = {"alpha": alpha, "beta": alpha, "lasting": 15.387756, "excess": 5.309743}
    loss = at("data_constrained", params / n0, tokens / d0, tokens / unique, E=np.exp(0.6254804), A=A, B=B, **shared)
    assert loss == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("reference", [(1.0, 1.0, 1.0), (3e8, 1e7, 5e9)])
def test_vocab_law_of_tao(reference):
    n0, v0, d0 = reference
    alpha, gamma = 0.44660634, 0.67073745
    millions = {"A": 1.83138516 * (n0 / 1e6) ** -alpha, "A_vocab": 0.19584238 * (v0 / 1e6) ** -gamma}
    B = 2.12412331 * (d0 / 1e9) ** -alpha
    shared = {"E": 5.53278468, "alpha": alpha, "beta": alpha, "gamma": gamma}
    loss = at("vocab_law", 302e6 / n0, 32000 * 1024 / v0, 1e10 / d0, B=B, **millions, **shared)
    assert loss == pytest.approx(-4.6114, abs=5e-6)


@pytest.mark.parametrize("n0", [1.0, 1.4e8])
@pytest.mark.parametrize(
    ("params", "experts", "expected"), [(1.3e9, 1, 2.237357), (1.3e9, 64, 2.049779), (1.3e8, 128, 2.344621)]
)
def test_routed_lm_of_clark(n0, params, experts, expected):
    a, b, c, d, start, top = -0.082, -0.108, 0.009, 1.104, 1.847, 314.478
    here = {"alpha": -(a + c * np.log10(start)), "gain": -(b + c * np.log10(n0)), "fading": c / np.log(10)}
    dense = a * np.log10(n0) + b * np.log10(start) + c * np.log10(n0) * np.log10(start) + d
    loss = at("routed_lm", params / n0, float(experts), level=10**dense, start=start - 1, span=top - start, **here)
    assert loss == pytest.approx(expected, abs=2e-6)


# --- one law is a case of another ------------------------------------------------------------------------------------------


def test_nd_bridge_holds_chinchilla_and_kaplan():
    shared = {"A": 0.5, "B": 0.3, "alpha": 0.34, "beta": 0.28}
    np.testing.assert_allclose(
        at("nd_bridge", N, D, E=1.7, q=1.0, **shared), at("chinchilla", N, D, E=1.7, **shared), rtol=1e-13
    )
    np.testing.assert_allclose(at("nd_bridge", N, D, E=0.0, q=0.28, **shared), at("kaplan_nd", N, D, **shared), rtol=1e-13)


def test_nd_bridge_with_a_small_q_is_a_bottleneck():
    loss = at("nd_bridge", N, D, E=0.0, A=0.5, B=0.3, alpha=0.34, beta=0.28, q=1e-4)
    np.testing.assert_allclose(loss, np.maximum(0.5 * N**-0.34, 0.3 * D**-0.28), rtol=1e-4)


@pytest.mark.parametrize("q", [0.3, 0.74, 1.0, 1.6])
def test_coupled_power_law_is_nd_bridge_by_level_and_shares(q):
    level, floor, share = 2.4, 0.7, 0.35
    shared = {"alpha": 0.34, "beta": 0.28, "q": q}
    A, B = (level * (1 - floor) * part**q for part in (share, 1 - share))
    coupled = at("coupled_power_law", N, D, level=level, floor=floor, share=share, **shared)
    np.testing.assert_allclose(coupled, at("nd_bridge", N, D, E=level * floor, A=A, B=B, **shared), rtol=1e-13)
    assert at("coupled_power_law", 1.0, 1.0, level=level, floor=floor, share=share, **shared) == pytest.approx(level)


def test_data_constrained_with_new_data_is_chinchilla_up_to_the_size_that_they_feed():
    shared = {"E": 1.7, "A": 0.4, "B": 0.3, "alpha": 0.34, "beta": 0.28}
    small = 0.05 * N
    once = at("data_constrained", small, 5 * D, 1.0, lasting=15.0, excess=1e6, **shared)
    np.testing.assert_allclose(once, at("chinchilla", small, 5 * D, **shared), rtol=1e-6)


def test_routed_lm_offset_without_a_floor_is_routed_lm():
    shared = {"level": 2.0, "alpha": 0.1, "gain": 0.05, "fading": 0.004, "start": 1.0, "span": 300.0}
    routed = at("routed_lm", N, 1 + 10 * D, **shared)
    np.testing.assert_allclose(at("routed_lm_offset", N, 1 + 10 * D, floor=0.0, **shared), routed, rtol=1e-13)
    dense = at("routed_lm_offset", N, 1.0, floor=0.4, **shared)
    np.testing.assert_allclose(dense, 2.0 * (0.4 + 0.6 * N**-0.1), rtol=1e-13)


def test_coupled_vocab_law_adds_its_terms_at_q_of_1_and_takes_the_largest_near_0():
    shared = {"E": 5.0, "A": 0.5, "A_vocab": 0.2, "B": 0.7, "alpha": 0.3, "gamma": 0.5, "beta": 0.4, "spread": 0.25}
    terms = [0.5 * N**-0.3, 0.2 * D**-0.5 + 0 * N, 0.7 * (3 * D**-0.25) ** -0.4 + 0 * N]
    np.testing.assert_allclose(at("coupled_vocab_law", N, D, D, 3.0, q=1.0, **shared), -5 + sum(terms), rtol=1e-12)
    scarcest = np.maximum(np.maximum(terms[0], terms[1]), terms[2])
    np.testing.assert_allclose(at("coupled_vocab_law", N, D, D, 3.0, q=1e-4, **shared), -5 + scarcest, rtol=1e-3)


def test_streams_count_as_size():
    shared = {"level": 2.0, "floor": 0.6, "alpha": 0.3, "worth": 0.4}
    one = at("parallel_streams", X * (1 + 0.4 * np.log(8)), 1.0, **shared)
    np.testing.assert_allclose(at("parallel_streams", X, 8.0, **shared), one, rtol=1e-13)
    assert at("parallel_streams", 1.0, 1.0, **shared) == pytest.approx(2.0)


def test_the_bowl_of_learning_rate_and_batch_is_lowest_where_it_says():
    shared = {"level": 2.5, "floor": 0.7, "share": 0.4, "alpha": 0.3, "beta": 0.35, "rate": 2e-3, "best_batch": 1.5, "q": 1.0}
    shared |= {"rate_params": -0.7, "rate_tokens": 0.3, "rate_batch": 0.4, "batch_tokens": 0.57, "rate_cost": 0.02}
    shared |= {"rate_skew": 0.5}
    batch = 1.5 * 4**0.57
    best = 2e-3 * 3**-0.7 * 4**0.3
    lowest = at("learning_rate_batch", 3.0, 4.0, best, batch, batch_cost=0.01, **shared)
    assert lowest == pytest.approx(2.5 * (0.7 + 0.3 * (0.4 * 3**-0.3 + 0.6 * 4**-0.35)))
    around = at("learning_rate_batch", 3.0, 4.0, best * X[5:8], batch * X[[6, 6, 6]] * [1.2, 1, 1.2], batch_cost=0.01, **shared)
    assert (around >= lowest).all() and around[1] == pytest.approx(lowest)


def test_gadre_overtrain_is_chinchilla_with_tied_exponents():
    eta = 0.13
    gadre = at("gadre_overtrain", N * D, D / N, E=1.5, A=0.4, B=0.7, eta=eta)
    np.testing.assert_allclose(gadre, at("chinchilla", N, D, E=1.5, A=0.4, B=0.7, alpha=2 * eta, beta=2 * eta), rtol=1e-13)


def test_double_saturating_without_a_shift_is_a_power_law_above_a_floor():
    same = {"E": 0.1, "A": 0.5, "alpha": 0.4}
    np.testing.assert_allclose(at("double_saturating", X, d=0.0, **same), at("power_law_offset", X, **same), rtol=1e-13)


def test_bnsl_without_a_change_of_slope_is_a_power_law_above_a_floor():
    y = at("bnsl", X, E=0.2, A=0.5, c0=0.3, c1=0.0, d=2.0, f=0.4)
    np.testing.assert_allclose(y, at("power_law_offset", X, E=0.2, A=0.5, alpha=0.3), rtol=1e-13)


# --- laws against formulas written down a second time ----------------------------------------------------------------------


def test_bnsl_against_the_papers_formula():
    a, b, c0, c1, d1, f1, x0 = 0.05, 3.0, 0.2, 0.5, 4e4, 0.6, 1e4
    x = np.geomspace(1e2, 1e7, 11)
    paper = a + b * x**-c0 * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1)
    d = d1 / x0
    A = b * x0**-c0 * (1 + d ** (-1 / f1)) ** (-c1 * f1)
    np.testing.assert_allclose(at("bnsl", x / x0, E=a, A=A, c0=c0, c1=c1, d=d, f=f1), paper, rtol=1e-12)


def test_bnsl_is_its_amplitude_at_the_reference_and_turns_where_it_says():
    params = {"E": 0.1, "A": 0.8, "c0": -0.2, "c1": 0.6, "d": 3.0, "f": 0.5}
    assert at("bnsl", 1.0, **params) == pytest.approx(0.9, rel=1e-13)
    turn = 3.0 * np.exp(0.5 * logit(0.2 / 0.6))
    left, top, right = at("bnsl", turn * np.array([0.99, 1.0, 1.01]), **params)
    assert top > left and top > right


def test_bnsl_does_not_overflow_at_a_sharp_break_far_away():
    y = at("bnsl", np.array([1e-6, 1.0, 1e6]), E=0.1, A=0.5, c0=0.2, c1=0.3, d=1e-8, f=1e-3)
    assert np.isfinite(y).all()
    assert y[1] == pytest.approx(0.6)


def test_m4_saturating_against_a_root_finder():
    E, R, A, alpha = 0.1, 0.8, 0.6, 0.7
    for a in (0.05, 0.6, 1.0, 1.7, 6.0):
        for x, y in zip(X, at("m4_saturating", X, E=E, R=R, A=A, alpha=alpha, a=a), strict=True):
            t = np.log(A) - alpha * np.log(x)
            # In z = logit u, so that the bracket holds the root however near to 0 or 1 it is.
            z = brentq(lambda z, t=t, a=a: np.log(expit(z)) - a * np.log(expit(-z)) - t, -600, 600, xtol=1e-13, rtol=1e-14)
            assert y == pytest.approx(E + R * expit(z), rel=1e-11)


def test_m4_saturating_in_closed_form():
    t = 0.6 * X**-0.7
    np.testing.assert_allclose(
        at("m4_saturating", X, E=0.1, R=0.8, A=0.6, alpha=0.7, a=1.0), 0.1 + 0.8 * t / (1 + t), rtol=1e-13
    )
    np.testing.assert_allclose(
        at("m4_saturating", X, E=0.1, R=0.8, A=0.6, alpha=0.7, a=0.0), 0.1 + 0.8 * np.minimum(t, 1), rtol=1e-12
    )


# --- the root behind M4 ----------------------------------------------------------------------------------------------------


def test_the_root_solves_its_equation_far_out():
    a, t = np.geomspace(1e-3, 1e3, 61)[:, None], np.linspace(-40, 40, 161)
    with double_precision():
        u = to_numpy(saturating_share(t, a))
    inside = (u > 0) & (u < 1 - 1e-8)
    assert inside.mean() > 0.7
    back = np.log(u[inside]) - (a * np.log1p(-np.where(inside, u, 0.5)))[inside]
    np.testing.assert_allclose(back, np.broadcast_to(t, u.shape)[inside], rtol=1e-6, atol=1e-6)
    assert (np.diff(u, axis=1) >= 0).all()


def test_the_roots_derivatives_against_finite_differences():
    a, t = (v.ravel() for v in np.meshgrid([0.02, 0.3, 1.0, 4.0, 30.0], [-6.0, -0.4, 0.0, 1.2, 5.0]))
    h = 1e-5 * np.minimum(a, 1)

    def numeric(f, ht, ha):
        return (to_numpy(f(t + ht, a + ha)) - to_numpy(f(t - ht, a - ha))) / (2 * h)

    with double_precision():
        first = jax.jit(jax.vmap(jax.grad(saturating_share, (0, 1))))
        second = jax.jit(jax.vmap(jax.hessian(saturating_share, (0, 1))))
        u, (by_t, by_a), ((tt, ta), (at_, aa)) = to_numpy((saturating_share(t, a), first(t, a), second(t, a)))
        inside = u < 1
        assert inside.sum() == 23  # the two others are at the level of guessing, to the last digit
        np.testing.assert_allclose(by_t[inside], (1 / (1 / u[inside] + a[inside] / (1 - u[inside]))), rtol=1e-6)
        np.testing.assert_allclose(by_t, numeric(saturating_share, h, 0), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(by_a, numeric(saturating_share, 0, h), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(tt, numeric(lambda *v: first(*v)[0], h, 0), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(ta, numeric(lambda *v: first(*v)[0], 0, h), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(aa, numeric(lambda *v: first(*v)[1], 0, h), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(at_, ta, rtol=1e-9, atol=1e-12)


def test_the_root_in_single_precision():
    u = np.asarray(saturating_share(np.float32([-3, 0, 300]), np.float32(0.5)))
    np.testing.assert_allclose(u, [0.0485631, 0.618034, 1.0], rtol=1e-4)


# --- what is believed before the data --------------------------------------------------------------------------------------


def prior_draws(law, n=500, seed=7):
    inverse = {"log": np.exp, "identity": lambda v: v, "logit": expit}
    rng = np.random.default_rng(seed)
    return {k: inverse[p.link](rng.normal(p.loc, p.scale, (n, 1, 1))) for k, p in law.params.items()}


#: Covariates along which a law's loss never rises, whatever its parameters.
FALLING = {
    "power_law": ["x"],
    "power_law_offset": ["x"],
    "double_saturating": ["x"],
    "m4_saturating": ["x"],
    "bnsl": [],
    "chinchilla": ["params", "tokens"],
    "kaplan_nd": ["params", "tokens"],
    "nd_bridge": ["params", "tokens"],
    "coupled_power_law": ["params", "tokens"],
    "gadre_overtrain": ["flops"],
}


@pytest.mark.parametrize("name", FALLING)
def test_prior_draws_are_plausible_curves(name):
    law = get_law(name)
    draws, ratios = prior_draws(law), np.geomspace(1e-2, 1e2, 9)
    grids = np.meshgrid(*[ratios] * len(law.covariates), indexing="ij") if len(law.covariates) > 1 else [ratios[:, None]]
    y = at(name, *grids, **draws)
    assert np.isfinite(y).all() and (y > 0).all()
    for axis, covariate in enumerate(law.covariates, start=1):
        if covariate in FALLING[name]:
            assert (np.diff(y, axis=axis) <= 1e-12).all()
    # At the reference, in nats or in units of the median response, the middle of the draws is of the right size.
    middle = 4
    reference = y[(slice(None), *[middle] * len(grids), *[0] * (2 - len(grids)))]
    low, high = np.quantile(reference, [0.05, 0.95])
    levels = {p.unit for p in law.params.values()} - {""}
    assert levels in ({"nats/token"}, {"response"})
    least, most = (1.2, 6.5) if levels == {"nats/token"} else (0.3, 3.0)
    assert least < low < high < most


def test_most_prior_draws_of_a_broken_law_fall():
    y = at("bnsl", np.array([[1e-2], [1e2]]), **prior_draws(get_law("bnsl")))[:, :, 0]
    assert np.mean(y[:, 1] < y[:, 0]) > 0.85
