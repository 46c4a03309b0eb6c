"""Laws of what a model is made of: its vocabulary, its experts, its parallel streams."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bayescale.laws.base import law
from bayescale.laws.param import Param

RESPONSE = "response"


@law(
    cite="tao2024",
    response="loss",
    E=Param.positive(1.2, 0.5, unit=RESPONSE, doc="what unlimited scale gains over the frequency of words alone"),
    A=Param.positive(0.1, 1.0, unit=RESPONSE, doc="loss from finite size, at the reference run", decays={"params": "alpha"}),
    A_vocab=Param.positive(
        0.05, 1.0, unit=RESPONSE, doc="loss from a finite vocabulary, at the reference run", decays={"vocab_params": "gamma"}
    ),
    B=Param.positive(0.1, 1.0, unit=RESPONSE, doc="loss from finite data, at the reference run", decays={"tokens": "beta"}),
    alpha=Param.positive(0.4, 0.5, doc="exponent of params"),
    gamma=Param.positive(0.5, 0.5, doc="exponent of vocab_params"),
    beta=Param.positive(0.4, 0.5, doc="exponent of tokens"),
)
def vocab_law(
    params: Any,
    vocab_params: Any,
    tokens: Any,
    *,
    E: Any,
    A: Any,
    A_vocab: Any,
    B: Any,
    alpha: Any,
    gamma: Any,
    beta: Any,
) -> Any:
    """Loss less that of word frequencies, of a model with a vocabulary of some size.

    ``L = -E + A N^-alpha + A_v V^-gamma + B D^-beta`` :cite:p:`tao2024`: the unigram-normalised loss, which compares
    vocabularies and is negative, so that it goes with ``noise=StudentT(on="plain")``. ``params`` without those of the
    vocabulary, ``vocab_params`` their number (size times width), ``tokens`` after the vocabulary's own compression. ``E``,
    ``A``, ``A_vocab`` and ``B`` in multiples of the size of the median response, exponents dimensionless; the paper's
    constants are ``A N0^alpha``, ``A_vocab V0^gamma``, ``B D0^beta``, and it ties ``beta`` to ``alpha``.
    """
    return -E + A * params**-alpha + A_vocab * vocab_params**-gamma + B * tokens**-beta


@law(
    cite="tao2024",
    response="loss",
    E=Param.positive(1.4, 0.5, unit=RESPONSE, doc="what unlimited scale gains over the frequency of words alone"),
    A=Param.positive(
        0.3, 0.7, unit=RESPONSE, doc="loss from finite size alone, at the reference run", decays={"params": "alpha"}
    ),
    A_vocab=Param.positive(
        0.2,
        0.7,
        unit=RESPONSE,
        doc="loss from a finite vocabulary alone, at the reference run",
        decays={"vocab_params": "gamma"},
    ),
    B=Param.positive(0.3, 0.7, unit=RESPONSE, doc="loss from finite text alone, at the reference run"),
    alpha=Param.positive(0.2, 0.7, doc="exponent of params"),
    gamma=Param.positive(0.2, 0.7, doc="exponent of vocab_params"),
    beta=Param.positive(0.3, 0.5, doc="exponent of characters"),
    spread=Param.real(0.2, 0.2, doc="exponent with which the worth of text falls as it is cut into more kinds of words"),
    q=Param.positive(0.5, 0.7, doc="how the three combine: 1 adds them, towards 0 the scarcest alone decides"),
)
def coupled_vocab_law(
    params: Any,
    vocab_params: Any,
    vocab_size: Any,
    characters: Any,
    *,
    E: Any,
    A: Any,
    A_vocab: Any,
    B: Any,
    alpha: Any,
    gamma: Any,
    beta: Any,
    spread: Any,
    q: Any,
) -> Any:
    """Loss less that of word frequencies, where the scarcest of size, vocabulary and text counts most.

    ``L = -E + [(A N^-alpha)^(1/q) + (A_v V^-gamma)^(1/q) + (B (H S^-spread)^-beta)^(1/q)]^q``: the terms of
    :cite:t:`tao2024` coupled as in ``coupled_power_law``, with text counted in characters ``H``, which a vocabulary of more
    words ``S`` cuts into fewer and rarer ones. ``params`` without those of the vocabulary, ``vocab_params`` theirs. The
    response is negative: ``noise=StudentT(on="plain")``. ``E``, ``A``, ``A_vocab`` and ``B`` in multiples of the size of
    the median response, the others dimensionless. Computed in logs.
    """
    size = jnp.log(A) - alpha * jnp.log(params)
    words = jnp.log(A_vocab) - gamma * jnp.log(vocab_params)
    text = jnp.log(B) - beta * (jnp.log(characters) - spread * jnp.log(vocab_size))
    return -E + jnp.exp(q * jnp.logaddexp(jnp.logaddexp(size / q, words / q), text / q))


@law(
    cite="clark2022",
    response="loss",
    absolute=("experts",),
    level=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response of a dense model at the reference size", scales=True),
    alpha=Param.positive(0.08, 0.5, doc="exponent of params in a dense model", slope_along="params"),
    gain=Param.positive(0.04, 0.8, doc="exponent of the effective number of experts, at the reference size"),
    fading=Param.real(0.004, 0.004, doc="by how much the gain falls per unit of log params", group_sd=0.002),
    start=Param.positive(1.0, 0.7, doc="effective experts of a dense model, less 1"),
    span=Param.positive(350.0, 0.7, doc="effective experts beyond that to which the number saturates"),
)
def routed_lm(params: Any, experts: Any, *, level: Any, alpha: Any, gain: Any, fading: Any, start: Any, span: Any) -> Any:
    """Loss of a model whose blocks send each token to one of several experts.

    ``log L = log level - alpha log N - (gain - fading log N) log(E' / E_1)``, in which ``E'`` is the effective number of
    experts, ``1 / E' = 1 / (E - 1 + (1 / E_1 - 1 / E_m)^-1) + 1 / E_m`` with ``E_1 = 1 + start`` and ``E_m = E_1 + span``
    :cite:p:`clark2022`. ``params`` are those that one token sees, ``experts`` is taken as it is, at least 1. ``level`` in
    multiples of the median response. In the paper's letters, with logarithms to base ten: ``c = fading ln 10``, ``b = -gain
    - c log N0``, ``a = -alpha - c log E_1``. All runs have the same data: the law says nothing of tokens.
    """
    return level * jnp.exp(-alpha * jnp.log(params) - _gained(params, experts, gain, fading, start, span))


@law(
    cite="clark2022",
    response="loss",
    absolute=("experts",),
    level=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response of a dense model at the reference size", scales=True),
    floor=Param.fraction(0.5, 1.0, doc="share of the level that no scale removes"),
    alpha=Param.positive(0.2, 0.7, doc="exponent of params in a dense model", slope_along="params"),
    gain=Param.positive(0.1, 0.8, doc="exponent of the effective number of experts, at the reference size"),
    fading=Param.real(0.0, 0.01, doc="by how much the gain falls per unit of log params", group_sd=0.002),
    start=Param.positive(1.0, 0.7, doc="effective experts of a dense model, less 1"),
    span=Param.positive(350.0, 0.7, doc="effective experts beyond that to which the number saturates"),
)
def routed_lm_offset(
    params: Any, experts: Any, *, level: Any, floor: Any, alpha: Any, gain: Any, fading: Any, start: Any, span: Any
) -> Any:
    """Loss of a model that routes tokens to experts, above a floor.

    ``y = level [floor + (1 - floor) N^-alpha (E' / E_1)^-(gain - fading log N)]``: ``routed_lm`` :cite:p:`clark2022` of
    what is above a floor, which the paper leaves out; with ``floor = 0`` it is that law. The exponents are of the reducible
    loss, and larger.
    """
    reducible = jnp.exp(-alpha * jnp.log(params) - _gained(params, experts, gain, fading, start, span))
    return level * (floor + (1 - floor) * reducible)


def _gained(params: Any, experts: Any, gain: Any, fading: Any, start: Any, span: Any) -> Any:
    """Logarithm of what routing takes off."""
    first = 1 + start
    last = first + span
    room = first * last / span
    effective = 1 / (1 / (experts - 1 + room) + 1 / last)
    return (gain - fading * jnp.log(params)) * (jnp.log(effective) - jnp.log(first))


@law(
    cite="chen2025",
    response="loss",
    absolute=("streams",),
    level=Param.positive(1.0, 0.5, unit=RESPONSE, doc="response of one stream at the reference size", scales=True),
    floor=Param.fraction(0.67, 1.0, doc="share of the level that no scale removes"),
    alpha=Param.positive(0.25, 0.6, doc="exponent of params", slope_along="params"),
    worth=Param.positive(0.35, 0.7, doc="sizes that a stream is worth, per unit of the log of their number"),
)
def parallel_streams(params: Any, streams: Any, *, level: Any, floor: Any, alpha: Any, worth: Any) -> Any:
    """Loss of a model that computes several streams of each input with the same parameters.

    ``y = level [floor + (1 - floor) (N (1 + worth log P))^-alpha]`` with ``P`` the number of ``streams``, taken as it is,
    at least 1 :cite:p:`chen2025`: streams count as size. ``level`` in multiples of the median response, the others
    dimensionless. The paper's ``E = level floor``, ``k = worth`` and ``A = N0 (level (1 - floor))^(1/alpha)`` in ``(A / (N
    (k log P + 1)))^alpha``.
    """
    return level * (floor + (1 - floor) * (params * (1 + worth * jnp.log(streams))) ** -alpha)
