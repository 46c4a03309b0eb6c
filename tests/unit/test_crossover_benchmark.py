"""The questions and the scores of the benchmarks of crossovers, without a fit."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import crossover, pairs
from benchmarks.decisions.scoring import scored, with_baselines


@pytest.mark.parametrize("kind", list(crossover.PLACES))
def test_simulated_methods_meet_once_and_where_they_are_said_to(kind: str) -> None:
    a, b, scale, *_ = crossover.simulate(kind, 5)
    low, high = crossover.PLACES[kind]
    assert low * crossover.LARGEST <= scale <= high * crossover.LARGEST
    assert a(scale) == pytest.approx(b(scale))
    assert b(scale / 2) > a(scale / 2)
    assert b(scale * 2) < a(scale * 2)


def test_parallel_methods_keep_their_ratio() -> None:
    a, b, scale, *_ = crossover.simulate("never", 5)
    ratio = b(np.geomspace(*crossover.WITHIN, 9)) / a(np.geomspace(*crossover.WITHIN, 9))
    assert np.isinf(scale)
    assert np.ptp(ratio) < 1e-12
    assert 0.009 < abs(np.log(ratio[0])) < 0.101


def test_a_crossing_of_methods_drawn_at_random_is_where_they_meet() -> None:
    for seed in range(20):
        a, b, scale, *_ = crossover.simulate("any", seed)
        if np.isfinite(scale):
            assert abs(float(a(scale) - b(scale))) < 0.01
            return
    pytest.fail("no pair of twenty crosses")


def test_scores_by_hand() -> None:
    asked = pd.DataFrame(
        {
            "pair": [0, 1, 2],
            "kind": ["x", "x", "y"],
            "p": [0.8, 0.8, 1.0],
            "better": [True, False, True],
            "ranked": [True, True, True],
        }
    )
    learnt = with_baselines(asked)["rank, learnt"]
    assert learnt.tolist() == pytest.approx([2 / 4, 3 / 4, 2 / 4])  # of the other two, one more and one less right
    found = scored(asked, "kind")
    assert found.loc[("x", "bayescale"), "Brier"] == pytest.approx((0.04 + 0.64) / 2)
    assert found.loc[("y", "bayescale"), "log score"] == pytest.approx(np.log(0.99))
    assert found.loc[("all pairs", "rank, sure"), "right"] == pytest.approx(2 / 3)


def test_pairs_by_size_are_cut_where_the_protocol_says() -> None:
    asked = pairs.by_size()
    ternary = [q for q in asked if q.name.startswith("TriLM")]
    others = [q for q in asked if q.name.startswith("RWKV")]
    assert (len(ternary), len(others)) == (1, 14)
    assert ternary[0].better.tolist() == [False, True]
    assert all(len(q.shown) == 4 and len(q.scales) == 2 for q in others)
    assert all(q.shown["params"].max() < q.scales.min() for q in asked)


def test_an_envelope_keeps_what_is_better_than_all_that_is_cheaper() -> None:
    table = pd.DataFrame({"flops": [1.0, 2.0, 3.0, 4.0], "loss": [3.0, 3.5, 2.0, 2.0]})
    assert pairs.front(table)["flops"].tolist() == [1.0, 3.0]
    assert pairs.reached(table, 2.5) == 3.0


@pytest.mark.skipif(not os.environ.get(pairs.FOLDER), reason=f"{pairs.FOLDER} is not set")
def test_routers_are_those_of_the_usual_routing_and_never_dense() -> None:
    table = pairs._routed()
    assert set(table["router"]) == {"hash", "rl_r", "s_base"}
    assert not table.duplicated(["router", "params", "experts"]).any()
    shown = table[table["params"] < pairs.SHARE * table["params"].max()]
    assert (shown.groupby("router")["params"].nunique() == 3).all()
    assert (shown.groupby("router").size() >= pairs.FEWEST).all()
