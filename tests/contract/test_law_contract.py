"""What every law owes the rest, found by registry; and what happens to a law that does not keep to it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from bayescale.core.errors import SpecError
from bayescale.core.names import COVARIATES, COVARIATES_OF_LAWS
from bayescale.laws import base
from bayescale.laws.base import get_law, law, list_laws
from bayescale.laws.param import Param

ROOT = Path(__file__).parents[2]
BUILT_IN = [name for name in list_laws().index if get_law(name).function.__module__.startswith("bayescale.laws.")]
KEYS = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/references.bib").read_text(), flags=re.MULTILINE))


@pytest.fixture
def registry(monkeypatch):
    """A registry of its own, so that a test's law is gone after it."""
    list_laws()
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


def typical(item):
    inverse = {"log": np.exp, "identity": lambda v: v, "logit": expit}
    return {name: float(inverse[p.link](p.loc)) for name, p in item.params.items()}


def test_the_catalogue_is_whole():
    one = {"power_law", "power_law_offset", "m4_saturating", "bnsl", "double_saturating"}
    two = {"kaplan_nd", "chinchilla", "nd_bridge", "coupled_power_law", "gadre_overtrain"}
    more = {
        "repeated_power_law",
        "data_constrained",
        "vocab_law",
        "coupled_vocab_law",
        "routed_lm",
        "routed_lm_offset",
        "parallel_streams",
        "learning_rate_batch",
        "downstream_error_exp",
        "sigmoid_accuracy",
    }
    assert one | two | more <= set(BUILT_IN)
    assert {name for name in BUILT_IN if get_law(name).covariates == ("x",)} >= one


@pytest.mark.parametrize("name", BUILT_IN)
class TestEveryLaw:
    def test_says_what_it_is(self, name):
        item = get_law(name)
        assert item.name == name
        assert item.doc.endswith(".")
        assert ":cite:" in (inspect.getdoc(item.function) or "")
        assert item.cite in KEYS
        assert item.response in ("loss", "error", "accuracy")
        assert item.digest

    def test_takes_known_covariates(self, name):
        assert set(get_law(name).covariates) <= {*COVARIATES, *COVARIATES_OF_LAWS, "tokens_per_param", "x"}

    def test_documents_every_parameter(self, name):
        for key, param in get_law(name).params.items():
            assert param.doc, key
            assert param.unit in ("", "nats/token", "response"), key

    def test_levels_have_a_unit_and_shapes_none(self, name):
        for key, param in get_law(name).params.items():
            level = key in ("E", "R", "B", "A_vocab", "level") or (key == "A" and name != "m4_saturating")
            assert bool(param.unit) is level, key

    def test_runs_under_jit_vmap_and_grad_in_float64(self, name):
        item = get_law(name)
        with jax.enable_x64(True):
            x = [jnp.geomspace(0.1, 10.0, 5) for _ in item.covariates]
            params = {k: jnp.asarray(v) for k, v in typical(item).items()}
            plain = item(*x, **params)
            assert plain.dtype == jnp.float64 and plain.shape == (5,)
            np.testing.assert_allclose(jax.jit(item.function)(*x, **params), plain, rtol=1e-14)
            np.testing.assert_allclose(jax.vmap(lambda *r: item(*r, **params))(*x), plain, rtol=1e-14)

            def total(at):
                return item(*x, **at).sum()

            # Compiled once and unoptimised: op by op, each of them would be compiled.
            plainly = {"xla_backend_optimization_level": 0}
            for key, slope in jax.jit(jax.grad(total), compiler_options=plainly)(params).items():
                h = 1e-6 * max(abs(float(params[key])), 0.1)
                step = [total({**params, key: params[key] + sign * h}) for sign in (1, -1)]
                np.testing.assert_allclose(slope, (step[0] - step[1]) / (2 * h), rtol=1e-6, atol=1e-8, err_msg=key)
            assert np.isfinite(np.asarray(jax.tree.leaves(jax.jit(jax.hessian(total), compiler_options=plainly)(params)))).all()

    def test_broadcasts_draws_against_points(self, name):
        item = get_law(name)
        with jax.enable_x64(True):
            params = {k: np.full((3, 1), v) for k, v in typical(item).items()}
            y = np.asarray(item(*[np.geomspace(0.1, 10, 4)] * len(item.covariates), **params))
        assert y.shape == (3, 4)
        np.testing.assert_allclose(y, y[:1].repeat(3, 0), rtol=1e-14)


#: Laws none of whose amplitudes says that it decays as a pure power.
OTHERWISE = {"gadre_overtrain", "bnsl", "bent_power_law", "coupled_power_law", "repeated_power_law", "data_constrained"}
OTHERWISE |= {"coupled_vocab_law", "routed_lm", "routed_lm_offset", "parallel_streams", "learning_rate_batch"}
OTHERWISE |= {"downstream_error_exp", "sigmoid_accuracy"}


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - OTHERWISE))
def test_an_amplitude_that_decays_moves_with_the_reference(name):
    """Seen from another reference the same curve has its amplitudes times ratio**-exponent, all else unmoved.

    Not so those left out: the first amplitude of two says that it does not decay as a pure power, and the others have none.
    """
    item = get_law(name)
    params = {key: value * 1.1**i for i, (key, value) in enumerate(typical(item).items())}  # no two exponents equal
    params |= {"d": 0.0} if name == "double_saturating" else {}
    moved = dict(params)
    for key, param in item.params.items():
        for exponent in param.decays.values():
            moved[key] *= 2.0 ** -params[exponent]
    with jax.enable_x64(True):
        here = item(*[8.0] * len(item.covariates), **params)
        there = item(*[4.0] * len(item.covariates), **moved)
    assert moved != params
    np.testing.assert_allclose(there, here, rtol=1e-12)


@pytest.mark.parametrize("name", ["gadre_overtrain", "bnsl"])
def test_an_amplitude_of_another_form_does_not_claim_to_decay(name):
    assert not get_law(name).params["A"].decays


class TestALawOfTheUsersOwn:
    def test_of_a_cell_without_source(self, registry):
        made: dict = {"law": law, "Param": Param}
        exec(
            "@law(response='loss', A=Param.positive(1.0, 1.0, unit='response'), alpha=Param.positive(0.3, 0.5))\n"
            "def mine(x, *, A, alpha):\n"
            "    'Of my own.'\n"
            "    f = lambda v: v**-alpha\n"
            "    return A * f(x)\n",
            made,
        )
        item = get_law("mine")
        assert item is made["mine"]
        assert item.covariates == ("x",) and tuple(item.params) == ("A", "alpha")
        assert item.doc == "Of my own."
        assert item(4.0, A=2.0, alpha=0.5) == pytest.approx(1.0)
        assert len(item.digest) == 16

    def test_without_source_has_the_same_digest_in_another_process(self):
        def digest(constant):
            source = f"@law(a=Param.positive(1, 1))\ndef f(x, *, a):\n    g = lambda v: v + {constant}\n    return a * g(x)"
            program = (
                "from bayescale.laws.base import law\nfrom bayescale.laws.param import Param\n"
                f"names = {{'law': law, 'Param': Param}}\nexec({source!r}, names)\nprint(names['f'].digest)"
            )
            ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
            return ran.stdout

        assert digest(1) == digest(1) != digest(2)

    def test_replaces_one_of_its_name(self, registry):
        def make(power):
            @law("again", A=Param.positive(1.0, 1.0))
            def curve(x, *, A):
                return A * x**power

            return curve

        make(1)
        last = make(2)
        assert get_law("again") is last

    def test_is_equal_to_itself_made_twice(self, registry):
        def make(median):
            @law("twin", A=Param.positive(median, 1.0))
            def twin(x, *, A):
                return A * x

            return twin

        assert make(1.0) == make(1.0)
        assert hash(make(1.0)) == hash(make(1.0))
        assert make(1.0) != make(2.0)


class TestABadDefinition:
    def test_is_refused_with_all_its_faults(self, registry):
        with pytest.raises(SpecError) as error:

            @law(a=Param.positive(1, 1), b=0.3, c=Param.positive(1, 1, decays={"y": "a", "x": "z"}))
            def wrong(x, *, b, c, e):
                return b * x

        said = str(error.value)
        assert "'wrong'" in said
        for fault in ("'e' of the function has no prior", "'a' is no keyword-only", "'b' is a float", "'y', which is no cov"):
            assert fault in said
        assert "'z', which is no parameter" in said
        assert said.count("\n  - ") == 6
        with pytest.raises(SpecError):
            get_law("wrong")

    def test_without_a_covariate(self, registry):
        with pytest.raises(SpecError, match="no covariate"):

            @law(a=Param.positive(1, 1))
            def constant(*, a):
                return a

    def test_an_unknown_name_suggests_the_near_one(self):
        with pytest.raises(SpecError, match="Did you mean 'chinchilla'"):
            get_law("chinchila")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Param.positive(0.0, 1.0),
            lambda: Param.positive(1.0, 0.0),
            lambda: Param.positive(1.0, float("nan")),
            lambda: Param.real(float("inf"), 1.0),
            lambda: Param.fraction(1.0, 1.0),
            lambda: Param.positive(1.0, 1.0, group_sd=0.0),
            lambda: Param.positive(1.0, 1.0).with_prior(Param.real(0.0, 1.0)),
        ],
    )
    def test_a_prior_that_is_none(self, make):
        with pytest.raises(SpecError):
            make()


def test_every_key_cited_in_the_package_is_in_the_bibliography():
    text = "\n".join(path.read_text() for path in (ROOT / "bayescale").rglob("*.py"))
    cited = {key for keys in re.findall(r":cite:[pt]:`([^`]+)`", text) for key in keys.split(",")}
    assert cited and cited <= KEYS


def test_repeated_data_are_worth_what_the_paper_says():
    """Shares of new tokens that 4, 16 and 40 epochs are worth, at the published 15.387756 epochs :cite:`muennighoff2023`."""
    item, epochs = get_law("repeated_power_law"), np.array([1.0, 4.0, 16.0, 40.0])
    assert item.absolute == ("epochs",)
    shape = {"level": 1.0, "floor": 0.0, "share": 1e-12, "q": 1.0, "alpha": 0.3, "beta": 1.0}
    with jax.enable_x64(True):
        loss = np.asarray(item(np.ones(4), np.ones(4), epochs, **shape, lasting=15.387756))
    np.testing.assert_allclose(1 / loss, [1.0, 0.931, 0.661, 0.379], atol=6e-4)
