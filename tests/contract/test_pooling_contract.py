"""What every kind of pooling owes every parameter: its names and dimensions in results, and the density it states."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pandas as pd
import pytest

from bayescale.core.frozen import FrozenMap
from bayescale.core.numerics import double_precision
from bayescale.data.runs import Runs
from bayescale.infer.density import latent_sites
from bayescale.infer.programs import programs
from bayescale.infer.samplers import Nuts
from bayescale.infer.tree import coordinates, draws_dataset, parameter_dims
from bayescale.laws.base import Law, get_law
from bayescale.laws.param import Param
from bayescale.models import binding as binding_module
from bayescale.models.binding import Binding, bind
from bayescale.models.noise import Gaussian
from bayescale.models.pooling import CompletePooling, NoPooling, PartialPooling, Pooling
from bayescale.models.scaling import ScalingModel
from tests.contract.reference_density import model_side, reference, size

#: One of each kind, and the nestings of each; ``test_every_kind_is_here`` fails when a kind is added and left out.
KINDS: dict[str, Pooling] = {
    "complete": CompletePooling(),
    "none": NoPooling("family"),
    "none within": NoPooling(("architecture", "family")),
    "partial": PartialPooling("family"),
    "centred": PartialPooling("family", centered=True),
    "not centred": PartialPooling("family", centered=False),
    "nested": PartialPooling(("architecture", "family")),
    "nested centred": PartialPooling(("architecture", "family"), centered=True),
    "nested thrice": PartialPooling(("text", "architecture", "family")),
}
EXPONENT, AMPLITUDE, FLOOR = "alpha", "A", "E"


def table(seed: int = 0) -> pd.DataFrame:
    """Two texts, three architectures, five families of one to four runs."""
    rng = np.random.default_rng(seed)
    families = [
        ("pile", "rnn", "a", 1),
        ("pile", "rnn", "b", 4),
        ("pile", "ssm", "c", 3),
        ("web", "moe", "d", 2),
        ("web", "moe", "e", 3),
    ]
    rows = [(*labels, 10 ** rng.uniform(8, 10)) for *labels, runs in families for _ in range(runs)]
    out = pd.DataFrame(rows, columns=["text", "architecture", "family", "params"]).sample(frac=1, random_state=seed)
    return out.assign(loss=1.8 + 0.6 * (out["params"] / 1e9) ** -0.3 * rng.uniform(0.9, 1.1, len(out))).reset_index(drop=True)


def bound(pooling: Pooling | dict[str, Pooling], law: Law | str = "power_law_offset", **kwargs) -> tuple[Binding, pd.DataFrame]:
    runs = Runs.from_frame(table())
    return bind(ScalingModel(law, axes={"x": "params"}, pooling=pooling, **kwargs), runs), runs.table


def reported(binding: Binding, runs: Runs):
    """The posterior that a fit reports, of zeros: nothing is computed."""
    with double_precision():
        design = jax.tree.map(jax.numpy.asarray, binding.design)
        made = programs(binding.model, Nuts(), design, "loss")
        dim = latent_sites(binding.model, design)[-1].stop
        found = jax.eval_shape(made.finish, np.zeros((3, dim)), design)["parameters"]
    zeros = {name: np.zeros((1, *array.shape)) for name, array in found.items()}
    return draws_dataset(zeros, parameter_dims(binding), coordinates(binding, runs))


def test_every_kind_is_here() -> None:
    assert {type(pooling) for pooling in KINDS.values()} == set(get_args(Pooling))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [EXPONENT, AMPLITUDE, FLOOR])
def test_names_and_dimensions(name: str, kind: str) -> None:
    runs = Runs.from_frame(table())
    binding, _ = bound({name: KINDS[kind]})
    posterior, by = reported(binding, runs), KINDS[kind].by
    expected: dict[str, tuple[str, ...]] = {p: () for p in ("E", "A", "alpha", "sigma", "nu")}
    if by:
        expected[name] = ("family",)
    if isinstance(KINDS[kind], PartialPooling):
        expected |= {f"{name}_mu": (), f"{name}_tau": ()}
        expected |= {f"{name}_tau_{outer}": () for outer in by[:-1]}
        expected |= {f"{name}_{outer}": (f"{outer}_group",) for outer in by[:-1]}
    assert {k: v.dims[2:] for k, v in posterior.data_vars.items()} == expected
    if by:
        assert posterior["family"].values.tolist() == list("abcde")
    for outer in by[:-1]:
        parents = table().groupby("family")[outer].first()
        assert posterior[outer].dims == ("family",)
        assert posterior[outer].values.tolist() == parents.tolist()


def test_two_nestings_share_the_dimension_of_their_last_column() -> None:
    runs = Runs.from_frame(table())
    binding, _ = bound({"alpha": KINDS["nested"], "A": KINDS["partial"], "E": NoPooling("text")})
    posterior = reported(binding, runs)
    assert posterior["alpha"].dims == posterior["A"].dims == ("chain", "draw", "family")
    assert posterior["E"].dims == ("chain", "draw", "text")
    assert posterior["architecture"].dims == ("family",)


def test_a_label_of_two_parents_is_two_groups() -> None:
    frame = table().assign(family=lambda t: t["family"].replace({"d": "a"}))
    runs = Runs.from_frame(frame)
    model = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": PartialPooling(("architecture", "family"))})
    posterior = reported(bind(model, runs), runs)
    assert posterior["family"].values.tolist() == ["moe / a", "rnn / a", "rnn / b", "ssm / c", "moe / e"]


@pytest.fixture(scope="module")
def wide() -> Law:
    """A law with parameters on every link, and an amplitude that decays along one of them."""

    def curve(x, *, E, A, alpha, slope, share):
        return E * (1 + share) + A * x**-alpha + 0.01 * slope * x**-0.1

    priors = {
        "E": Param.positive(0.6, 0.5, unit="response"),
        "A": Param.positive(0.4, 0.7, unit="response", decays={"x": "alpha"}),
        "alpha": Param.positive(0.3, 0.6),
        "slope": Param.real(0.2, 0.3, unit="response"),
        "share": Param.fraction(0.2, 0.5),
    }
    return Law("wide", ("x",), FrozenMap(priors), curve)


def assert_agree(binding: Binding, frame: pd.DataFrame, stated: Law | None = None, points: int = 3) -> None:
    """Both sides give the same density, up to one constant for all points; ``stated`` is the law with the priors meant."""
    flats = np.random.default_rng(1).normal(0.0, 0.7, (points, size(binding)))
    parameters, ours = model_side(binding, flats)
    theirs = np.array([reference(binding, frame, at, stated or binding.model.law) for at in parameters])
    assert np.isfinite(ours).all()
    assert np.ptp(theirs) > 1.0
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_the_stated_one(kind: str) -> None:
    assert_agree(*bound(KINDS[kind]))


@pytest.mark.parametrize("kind", ["none", "partial"])
def test_density_on_every_link(kind: str, wide: Law) -> None:
    assert_agree(*bound(KINDS[kind], wide, noise=Gaussian()))


def test_density_of_a_law_of_two_variables() -> None:
    frame = table().assign(tokens=lambda t: 20 * t["params"] * np.linspace(0.5, 2, len(t)))
    runs = Runs.from_frame(frame)
    for law in ("chinchilla", "gadre_overtrain"):
        mixed = {"A": KINDS["nested"], "B": KINDS["partial"], "E": NoPooling("text")}
        assert_agree(bind(ScalingModel(law, pooling=mixed), runs), runs.table)


def test_own_priors_are_the_density() -> None:
    priors = {"alpha": Param.positive(0.1, 0.05, group_sd=0.7), "E": Param.positive(1.0, 0.1, unit="nats/token")}
    binding, frame = bound(KINDS["partial"], priors=priors)
    stated = get_law("power_law_offset")
    stated = replace(stated, params=FrozenMap({name: priors.get(name, param) for name, param in stated.params.items()}))
    assert_agree(binding, frame, stated)


@pytest.mark.parametrize("kind", ["complete", "partial"])
def test_padded_rows_contribute_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short, _ = bound(KINDS[kind])
    monkeypatch.setattr(binding_module, "bucket", lambda rows: 32)
    long, _ = bound(KINDS[kind])
    assert short.design.y.size == 16
    assert long.design.y.size == 32
    flats = np.random.default_rng(1).normal(0.0, 0.7, (2, size(short)))
    (one, first), (two, second) = model_side(short, flats), model_side(long, flats)
    np.testing.assert_allclose(first, second, rtol=1e-8)
    for a, b in zip(one, two, strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-12)
