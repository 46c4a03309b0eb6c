"""``crossover``: closed forms, pairing of draws, paths, and the probability of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import NotIdentifiedError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.crossing import crossover
from bayescale.prediction.summary import summarize
from tests.fakes import at_reference, fake_fit

PAPER = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def sizes(response: str = "loss") -> pd.DataFrame:
    params = np.geomspace(1e8, 1e10, 5)
    return pd.DataFrame({"params": params, response: 2 + 50 * params**-0.2})


def power(A: Any, alpha: Any, sd: float = 0.0, seed: int = 0, draws: int = 200) -> Fit:
    model = ScalingModel("power_law", axes={"x": "params"})
    return fake_fit(model, sizes(), {"A": A, "alpha": alpha}, sd=sd, seed=seed, draws=draws)


def runs() -> pd.DataFrame:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 4)
    tokens = 20 * params * np.tile(np.geomspace(0.3, 3.0, 4), 4)
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": 2 + 50 * params**-0.2 + np.arange(16) * 1e-4})


def chinchilla(law: str = "chinchilla", **changed: float) -> Fit:
    constants = PAPER | {k: v for k, v in changed.items() if k in PAPER}
    truth = at_reference(fake_fit(ScalingModel("chinchilla"), runs()), **constants)
    return fake_fit(ScalingModel(law), runs(), truth | {k: v for k, v in changed.items() if k not in PAPER}, sd=0.0, draws=50)


def test_two_power_laws_cross_where_the_formula_says() -> None:
    found = crossover(power(2.0, 0.10), power(2.2, 0.15), along="params")
    # log x* = log x0 + (log A_a - log A_b)/(alpha_a - alpha_b)
    expected = 1e9 * (2.2 / 2.0) ** (1 / 0.05)
    np.testing.assert_allclose(found["params"], expected, rtol=1e-10)
    assert found["params"].dims == ("chain", "draw")
    assert found["p_none"].item() == 0.0
    assert (found.attrs["better_before"], found.attrs["better_after"]) == ("a", "b")
    better = found["p_b_better"]
    np.testing.assert_array_equal(better, better["scale"] > expected)
    np.testing.assert_array_equal(found["params_grid"], found["scale"])


def test_the_range_is_that_of_the_fitted_runs() -> None:
    grid = crossover(power(2.0, 0.10), power(2.2, 0.15), along="params")["scale"]
    assert grid.min().item() == pytest.approx(1e7)
    assert grid.max().item() == pytest.approx(1e14)
    inside = crossover(power(2.0, 0.10), power(2.2, 0.15), along="params", within=(1e8, 5e9))
    assert inside["p_none"].item() == 1.0
    assert np.isnan(inside["params"]).all()
    assert inside.attrs["better_after"] == inside.attrs["better_before"] == "a"


def test_the_smallest_of_several_crossings() -> None:
    model = ScalingModel("power_law_offset", axes={"x": "params"})
    a = fake_fit(model, sizes(), {"E": 1.0, "A": 1.0, "alpha": 0.3}, sd=0.0)
    b = fake_fit(ScalingModel("power_law", axes={"x": "params"}), sizes(), {"A": 2.05, "alpha": 0.12}, sd=0.0)
    found = crossover(a, b, along="params", within=(1e5, 1e16))["params"].mean().item()
    x = np.geomspace(1e5, 1e16, 200001) / 1e9
    gap = 1 + x**-0.3 - 2.05 * x**-0.12
    roots = 1e9 * x[1:][gap[1:] * gap[:-1] <= 0]
    assert len(roots) == 2
    assert found == pytest.approx(roots[0], rel=1e-3)


def test_draws_of_one_fit_are_compared_draw_by_draw() -> None:
    frame = pd.concat([sizes().assign(family="a"), sizes().assign(family="b", loss=lambda t: t["loss"] * 1.1)])
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("family"), "alpha": NoPooling("family")})
    rng = np.random.default_rng(0)
    common = np.exp(0.3 * rng.standard_normal((4, 200, 1)))
    fit = fake_fit(model, frame, {"A": common * [2.0, 2.2], "alpha": np.full((4, 200, 2), [0.10, 0.15])}, sd=0.0)
    # What is uncertain for both cancels: A varies by 30 %, the ratio does not.
    found = crossover(fit.select(family="a"), fit.select(family="b"), along="params")
    np.testing.assert_allclose(found["params"], 1e9 * 1.1**20, rtol=1e-9)
    assert found.attrs["a"] == "family=a"


def test_an_unseen_group_is_the_same_for_both() -> None:
    frame = pd.concat(
        [
            sizes().assign(family=f, text=t, loss=sizes()["loss"] * (1 + i / 10))
            for i, (f, t) in enumerate(["ax", "bx", "ay", "by"])
        ]
    )
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": PartialPooling("text"), "alpha": NoPooling("family")})
    fit = fake_fit(model, frame, {"alpha": [0.10, 0.15], "A_tau": 1.0, "A_mu": 0.7}, sd=0.0)
    # Neither text is given: one unseen text, so the curves cross at the reference whatever its level.
    found = crossover(fit.select(family="a"), fit.select(family="b"), along="params")
    np.testing.assert_allclose(found["params"], 1e9, rtol=1e-8)


def test_two_fits_are_paired_at_random() -> None:
    a, b = power(2.0, 0.10, sd=0.01, seed=1), power(2.2, 0.15, sd=0.01, seed=1)  # the same scatter
    found = crossover(a, b, along="params")
    again = crossover(a, b, along="params")
    np.testing.assert_array_equal(found["params"], again["params"])
    assert not np.array_equal(found["params"], crossover(a, b, along="params", seed=1)["params"])
    # log x* = log(A_b / A_a) / (alpha_b - alpha_a), with independent scatter in each.
    rng = np.random.default_rng(0)
    z = 0.01 * rng.standard_normal((4, 20000))
    logs = (np.log(1.1) + z[0] - z[1]) / (0.15 * np.exp(z[2]) - 0.10 * np.exp(z[3]))
    assert np.log(found["params"] / 1e9).std().item() == pytest.approx(logs.std(), rel=0.1)


def test_fits_of_unlike_length() -> None:
    found = crossover(power(2.0, 0.10, draws=50), power(2.2, 0.15, draws=200), along="params")
    assert found.sizes["draw"] == 50
    np.testing.assert_allclose(found["params"], 1e9 * 1.1**20, rtol=1e-10)


def test_a_fit_and_itself_never_cross() -> None:
    fit = power(2.0, 0.1, sd=0.1)
    assert crossover(fit, fit, along="params")["p_none"].item() == 1.0
    assert crossover(chinchilla(), chinchilla("nd_bridge", q=1.0), path="optimal")["p_none"].item() == 1.0


PATHS: list[Any] = ["optimal", {"tokens_per_param": 20}, {"tokens": 3e11}]


@pytest.mark.parametrize("path", PATHS)
def test_paths_along_flops(path: Any) -> None:
    # b has the larger floor and the smaller size term.
    a, b = chinchilla(), chinchilla(E=1.83, A=400.0)
    found = crossover(a, b, path=path)
    C = found["flops"].isel(chain=0, draw=0).item()
    assert np.isfinite(C)

    def best(constants: dict[str, float]) -> float:
        E, A, B, alpha, beta = (constants[k] for k in ("E", "A", "B", "alpha", "beta"))
        G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
        by_path = {"tokens_per_param": np.sqrt(C / 120), "tokens": C / 1.8e12}
        N = G * (C / 6) ** (beta / (alpha + beta)) if path == "optimal" else by_path[next(iter(path))]
        return float(E + A * N**-alpha + B * (C / (6 * N)) ** -beta)

    assert best(PAPER) == pytest.approx(best(PAPER | {"E": 1.83, "A": 400.0}), rel=1e-9)
    assert found.attrs["better_before"] == "b"
    # The numerical frontier of a law without a closed form ends at the same place.
    if path == "optimal":
        bridges = crossover(chinchilla("nd_bridge", q=1.0), b, path=path)
        np.testing.assert_allclose(bridges["flops"], C, rtol=1e-6)


def test_along_params_with_a_fixed_ratio() -> None:
    a, b = chinchilla(), chinchilla(E=1.83, A=400.0)
    N = crossover(a, b, along="params", path={"tokens_per_param": 20})["params"].mean().item()
    C = crossover(a, b, along="flops", path={"tokens_per_param": 20})["flops"].mean().item()
    assert pytest.approx(120 * N**2, rel=1e-9) == C
    # The data term is the same in both, so more tokens at one size change nothing between them.
    assert crossover(a, b, along="tokens", at={"params": 7e9})["p_none"].item() == 1.0
    assert crossover(a, b, path={"params": 7e9})["p_none"].item() == 1.0


def test_a_law_of_params_along_flops_takes_a_path() -> None:
    a, b = power(2.0, 0.10), power(2.2, 0.15)
    with pytest.raises(SpecError, match=r"params of law 'power_law' may be anything.*along='params'"):
        crossover(a, b)
    found = crossover(a, b, path={"tokens": 3e11})
    np.testing.assert_allclose(found["flops"], 6 * 3e11 * 1e9 * 1.1**20, rtol=1e-10)
    assert found["scale"].min().item() == pytest.approx(6 * 3e11 * 1e7)


def test_a_path_is_required_where_the_axis_leaves_a_covariate_open() -> None:
    with pytest.raises(SpecError, match=r"path='optimal' or path=\{'tokens_per_param': 20\} or path=\{'tokens': 3e11\}"):
        crossover(chinchilla(), chinchilla())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"along": "flop"}, "unknown covariate 'flop'. Did you mean 'flops'"),
        ({"path": "optimum"}, "Did you mean 'optimal'"),
        ({"path": {"token": 3e11}}, "Did you mean 'tokens'"),
        ({"path": {"tokens": -1}}, "positive number"),
        ({"path": {"flops": 1e21}}, "which is the axis"),
        ({"path": 20}, "'optimal' or a covariate and its value"),
        ({"path": "optimal", "along": "params"}, "goes along flops"),
        ({"path": "optimal", "at": {"flops": 1e21}}, "leave it out"),
        ({"path": "optimal", "within": (1e21, 1e20)}, "0 < low < high"),
        ({"path": "optimal", "within": 1e21}, "within is"),
        ({"path": "optimal", "at": {"family": ["a", "b"]}}, "one point"),
    ],
)
def test_requests_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        crossover(chinchilla(), chinchilla(E=1.83), **given)


def test_an_optimal_path_that_the_table_cannot_tell() -> None:
    fit = fake_fit(ScalingModel("chinchilla"), runs().assign(tokens=3e11))
    with pytest.raises(NotIdentifiedError, match="tokens do not vary"):
        crossover(fit, fit, path="optimal")


def test_responses_must_be_the_same_in_one_unit() -> None:
    model = ScalingModel("power_law", axes={"x": "params"})
    error = fake_fit(model, sizes("error"), response="error")
    with pytest.raises(SpecError, match="different responses, 'loss' and 'error'"):
        crossover(power(2.0, 0.1), error, along="params")
    made = [fake_fit(model, Runs.from_frame(sizes(), units={"loss": unit})) for unit in ("nats/token", "bits/byte")]
    with pytest.raises(SpecError, match="in nats/token in a and in bits/byte in b"):
        crossover(made[0], made[1], along="params")


def test_a_higher_accuracy_is_better() -> None:
    frame = sizes("accuracy").assign(accuracy=lambda t: t["accuracy"] / 10)
    model = ScalingModel("power_law", axes={"x": "params"})
    a, b = (fake_fit(model, frame, {"A": A, "alpha": al}, sd=0.0, response="accuracy") for A, al in ((0.5, 0.10), (0.4, 0.15)))
    assert crossover(a, b, along="params")["p_b_better"].isel(scale=-1).item() == 0.0


def test_a_summary_of_draws_of_which_some_do_not_cross() -> None:
    alpha = np.where(np.arange(200) < 50, 0.10, 0.15) * np.ones((4, 200))
    found = crossover(power(2.0, 0.10), power(2.2, alpha), along="params")
    assert found["p_none"].item() == pytest.approx(0.25)
    row = summarize(found).loc["params"]
    assert row["p_none"] == pytest.approx(0.25)
    assert row["median"] == pytest.approx(1e9 * 1.1**20)
