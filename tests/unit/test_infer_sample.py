"""How the chains are run: windows, chunks, when to stop, and what Ctrl-C leaves. The chains are NumPy's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpyro.distributions import constraints

from bayescale.core.errors import SpecError
from bayescale.infer.convergence import Agreement, Convergence
from bayescale.infer.density import Site
from bayescale.infer.programs import Programs
from bayescale.infer.sample import MOST_SHAPES, WINDOWS, Draws, sample
from bayescale.infer.samplers import CHUNK, WINDOW, Hmc, Nuts

DESIGN = SimpleNamespace(mask=np.ones(100, dtype=bool))
SCALE = np.array([1.0, 10.0, 0.1])


class Chains:
    """Independent draws from a normal of scales ``SCALE``, in place of compiled programs."""

    def __init__(self, *names: str, diverging: float = 0.0) -> None:
        self.began: list[bool] = []
        self.steps: list[np.ndarray] = []
        self.keys: list[np.ndarray] = []
        names = names or ("a", "b", "c")
        sites = tuple(Site(name, (), i, constraints.real) for i, name in enumerate(names))
        self.diverging = diverging
        self.programs = Programs(sites, self.prior, self.energy, self.blank, self.advance, None, None, finish=None)

    def prior(self, keys, design):
        return np.random.default_rng(keys.ravel()).normal(0.0, 3.0, (len(keys), 3))

    def energy(self, flat, design):
        return np.sum((flat / SCALE) ** 2) / 2, flat / SCALE**2

    def blank(self, keys, z, design, white):
        return (np.ones(len(keys)),)

    def advance(self, states, begin, stretch, keys, z, design, white):
        self.began.append(bool(begin))
        self.keys.append(np.asarray(keys))
        step = states[0] * stretch
        self.steps.append(step)
        rng = np.random.default_rng([len(self.began), *np.ravel(keys)])
        flat = rng.standard_normal((len(keys), CHUNK, 3)) * SCALE
        # A shorter step diverges less.
        bad = rng.uniform(size=flat.shape[:2]) < self.diverging * (step[:, None] ** 4)
        return (step,), (flat, {"diverging": bad, "energy": flat[..., 0]})


def found(r_hat: float, size: float = 500.0, draws: int = 1000) -> Convergence:
    return Convergence(pd.DataFrame({"r_hat": [r_hat], "ess_bulk": size, "ess_tail": size}, index=["a"]), 0, draws)


AGREED, NEAR, APART = found(1.0), found(1.05), found(2.0)


def run(chains: Chains, sampler=None, seed=0, judge=lambda results: AGREED, report=lambda *_: None) -> Draws:
    return sample(
        chains.programs, DESIGN, sampler or Nuts(draws=200), seed, lambda flat: {"flat": flat}, lambda r, _: judge(r), report
    )


def until_400(results: dict[str, np.ndarray]) -> Convergence:
    return NEAR if results["flat"].shape[1] < 400 else AGREED


def test_as_many_draws_as_asked_in_whole_chunks() -> None:
    drawn = run(Chains(), Nuts(chains=3, draws=120))
    assert drawn.flat.shape == (3, 150, 3)
    assert {name: array.shape for name, array in drawn.info.items()} == {"diverging": (3, 150), "energy": (3, 150)}
    assert not drawn.interrupted


def test_the_warm_up_is_not_kept() -> None:
    chains = Chains()
    drawn = run(chains)
    assert len(chains.began) == WINDOWS * (WINDOW // CHUNK) + 4
    assert drawn.flat.shape[1] == 4 * CHUNK
    assert not any(chains.began[-4:])


def test_a_population_warms_up_in_more_windows() -> None:
    one, many = Chains(), Chains("a_mu", "a_tau", "a")
    run(one)
    run(many)
    assert sum(many.began) > sum(one.began) >= 1
    assert all(many.began[:: WINDOW // CHUNK][: sum(many.began)])


def test_a_program_may_say_how_long_it_warms_up() -> None:
    chains = Chains("a_mu", "a_tau", "a")
    chains.programs = replace(chains.programs, windows=1)
    run(chains)
    assert sum(chains.began) == 1


def test_it_goes_on_while_the_chains_nearly_agree() -> None:
    assert run(Chains(), judge=until_400).flat.shape[1] == 400


def test_it_stops_at_the_most() -> None:
    assert run(Chains(), Nuts(draws=200), judge=lambda _: NEAR).flat.shape[1] == 800
    assert run(Chains(), Nuts(draws=200, max_draws=250), judge=lambda _: NEAR).flat.shape[1] <= 300
    assert run(Chains(), Nuts(draws=200, max_draws=100), judge=lambda _: NEAR).flat.shape[1] == 200


def test_those_that_missed_are_looked_at_first_and_all_before_it_ends() -> None:
    def table(**r_hat: float) -> Convergence:
        return Convergence(pd.DataFrame({"r_hat": r_hat, "ess_bulk": 500.0, "ess_tail": 500.0}), 0, 1000)

    asked: list[Any] = []

    def judge(results: dict[str, np.ndarray], names: Any) -> Convergence:
        asked.append(names)
        if names is None:
            return table(a=1.0, b=1.05) if len(asked) < 4 else table(a=1.0, b=1.0)
        return table(b=1.05) if len(asked) == 2 else table(b=1.0)

    def go(sampler: Nuts) -> Draws:
        asked.clear()
        return sample(Chains().programs, DESIGN, sampler, 0, lambda flat: {"flat": flat}, judge, lambda *_: None)

    drawn = go(Nuts(draws=200))
    assert asked == [None, ("b",), ("b",), None]
    assert drawn.judged is not None and drawn.judged.table.index.tolist() == ["a", "b"]
    # The last draws there may be are judged in full, whatever was found before.
    drawn = go(Nuts(draws=200, max_draws=250))
    assert asked == [None, None]
    assert drawn.judged is not None and drawn.judged.agreement is Agreement.NEAR


def test_it_stops_when_more_draws_would_not_help() -> None:
    chains = Chains()
    assert run(chains, judge=lambda _: APART).flat.shape[1] == 200
    assert sum(chains.began) == WINDOWS


def test_where_the_mode_alone_gave_the_shape_it_is_learnt_from_draws_that_disagree() -> None:
    chains, told = Chains("a_mu", "a_tau", "a"), []
    chains.programs = replace(chains.programs, windows=1)

    def judge(results: dict[str, np.ndarray]) -> Convergence:
        told.append(results["flat"])
        return APART if len(told) == 1 else AGREED

    drawn = run(chains, judge=judge)
    assert sum(chains.began) == 2
    assert drawn.judged is AGREED
    np.testing.assert_array_equal(drawn.flat, told[1])
    assert not np.isin(told[0], drawn.flat).any()


def test_it_is_learnt_anew_so_often_and_no_more() -> None:
    chains = Chains("a_mu", "a_tau", "a")
    chains.programs = replace(chains.programs, windows=1)
    assert run(chains, judge=lambda _: APART).judged is APART
    assert sum(chains.began) == 1 + MOST_SHAPES


@pytest.mark.parametrize(
    ("first", "anew"),
    [
        (found(1.0, size=200.0), True),
        # More of the same is the shorter way.
        (found(1.0, size=350.0), False),
        # So few draws add nothing to the shape that the mode told.
        (found(1.0, size=200.0, draws=10), False),
    ],
)
def test_slow_chains_begin_anew_in_the_shape_of_their_draws(first: Convergence, anew: bool) -> None:
    chains, told = Chains("a_mu", "a_tau", "a"), []
    chains.programs = replace(chains.programs, windows=1)

    def judge(results: dict[str, np.ndarray]) -> Convergence:
        told.append(results["flat"].shape[1])
        return first if len(told) == 1 else AGREED

    drawn = run(chains, judge=judge)
    assert (sum(chains.began) == 2) is anew
    assert drawn.flat.shape[1] == (200 if anew else 250)


def test_too_many_divergences_shorten_the_step_and_begin_again() -> None:
    chains = Chains(diverging=0.05)
    drawn = run(chains)
    kept = chains.steps[-4:]
    assert (np.concatenate(kept) < 1).all()
    assert drawn.flat.shape[1] == 200
    assert drawn.info["diverging"].mean() < 0.05


def test_divergences_that_a_shorter_step_does_not_mend_are_returned() -> None:
    assert run(Chains(diverging=1e6)).info["diverging"].all()


def test_the_seed_decides() -> None:
    one, same, other = run(Chains(), seed=1), run(Chains(), seed=1), run(Chains(), seed=2)
    np.testing.assert_array_equal(one.flat, same.flat)
    np.testing.assert_array_equal(one.prior, same.prior)
    assert not np.isin(one.flat, other.flat).any()
    assert not np.isin(one.prior, other.prior).any()


def test_every_chain_has_a_key_of_its_own() -> None:
    chains = Chains()
    run(chains)
    assert len(np.unique(chains.keys[0], axis=0)) == 4


def test_the_report_moves_on_to_the_end() -> None:
    told = []
    run(
        Chains(),
        judge=until_400,
        report=lambda *a: told.append(a),
    )
    done = [a[0] for a in told]
    assert done == sorted(done)
    assert all(a[0] <= a[1] for a in told)
    assert told[-1][0] == told[-1][1]
    assert list(dict.fromkeys(a[2] for a in told)) == ["finding the mode", "warming up", "sampling", "sampling on", "done"]


def interrupt_at(doing: str, after: int = 0):
    seen = 0

    def report(done: int, total: int, what: str) -> None:
        nonlocal seen
        seen += what == doing
        if what == doing and seen > after:
            raise KeyboardInterrupt

    return report


def test_ctrl_c_keeps_what_was_drawn() -> None:
    whole, cut = run(Chains()), run(Chains(), report=interrupt_at("sampling", after=2))
    assert cut.interrupted
    np.testing.assert_array_equal(cut.flat, whole.flat[:, : 2 * CHUNK])
    assert cut.info["energy"].shape == (4, 2 * CHUNK)


@pytest.mark.parametrize("doing", ["finding the mode", "warming up", "sampling"])
def test_ctrl_c_before_the_first_draw_is_ctrl_c(doing: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Chains(), report=interrupt_at(doing))


@pytest.mark.parametrize("kind", [Nuts, Hmc])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"chains": 1}, r"chains must be at least 2.*got 1"),
        ({"draws": 3}, r"draws must be at least 4.*got 3"),
        ({"target_accept": 1.0}, r"target_accept lies between.*got 1\.0"),
    ],
)
def test_settings_that_make_no_sense(kind, setting: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        kind(**setting)
    with pytest.raises(SpecError, match="trajectory and max_steps must be positive"):
        Hmc(trajectory=0.0)
