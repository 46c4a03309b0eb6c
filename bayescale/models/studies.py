"""Which published fits speak of which exponent: the reading of the bundled table ``published_laws``.

A table of figures as printed does not say which law of ours a fit is of, who counts size in which way, or which fits are of
the same runs. That is said here, once, fit by fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOTAL, NON_EMBEDDING, UNSTATED = "total", "non-embedding", "unstated"

_CHINCHILLA, _OFFSET, _PURE, _COMPUTE = "L=E+A/N^alpha+B/D^beta", "L=coef*N^exp+offset", "L=coef*N^exp", "L=coef*C^exp"
_REPEATED = "L=E+A/(U_N+U_N R_N*(1-exp(-R_N/R_N*)))^alpha+B/(U_D+U_D R_D*(1-exp(-R_D/R_D*)))^beta"


@dataclass(frozen=True)
class Published:
    """One published fit of one law.

    Parameters
    ----------
    law : str
        Name of our law of that form.
    study : str
        Bib key of the runs behind it: fits with one key are one study, whoever made them.
    cite : str
        Bib key of the fit.
    fit, form : str
        Its ``law`` and ``form`` in the bundled table; ``form`` is empty for a fit that the table lacks.
    exponents : mapping of str to str
        Our exponent, and the table's name for it.
    size : {"total", "non-embedding", "unstated"}
        Which parameters the study counts.
    factor : float
        What turns the printed number into our exponent: -1 where the paper prints the sign, 1/2 for ``eta``.
    values : mapping of str to float
        Our exponents, where the table lacks the fit.
    x : str
        Of a law of one variable: what ``x`` is.
    excluded : str
        Why it does not count, if it does not.
    source : str
        Where the numbers of a fit that the table lacks come from.
    """

    law: str
    study: str
    cite: str
    fit: str
    form: str
    exponents: Mapping[str, str]
    size: str
    factor: float = 1.0
    values: Mapping[str, float] = field(default_factory=dict)
    x: str = ""
    excluded: str = ""
    source: str = ""


_BOTH = {"alpha": "alpha", "beta": "beta"}
_SUPERSEDED = "fitted to the same runs as besiroglu2024, which corrects it"


def _gadre(corpus: str, eta: float) -> tuple[Published, Published]:
    """One corpus of :cite:t:`gadre2024`, whose law is ``chinchilla`` with alpha = beta = 2 eta; N is every parameter."""
    said = ("gadre2024", "gadre2024", f"Gadre over-training ({corpus})", "")
    both = {"alpha": 2 * eta, "beta": 2 * eta}
    source = "Gadre et al. 2024 (arXiv:2403.08540), C4-eval loss; refitted from the authors' files with their code"
    return (
        Published("chinchilla", *said, _BOTH, TOTAL, values=both, source=source),
        Published("gadre_overtrain", *said, {"eta": "eta"}, TOTAL, values={"eta": eta}, source=source),
    )


def _one(law: str, study: str, fit: str, form: str, parameter: str, x: str, size: str, factor: float = -1.0) -> Published:
    return Published(law, study, study, fit, form, {"alpha": parameter}, size, factor, x=x)


_HOFFMANN_TEX = "Hoffmann parametric (unrounded, recovered from TeX source by Besiroglu et al.)"
_MUENNIGHOFF = "Muennighoff data-constrained (C4)"

#: Every published fit of a law of ours that was read. ``N`` of :cite:t:`muennighoff2023` counts embeddings (7.1M parameters
#: at width 128 and three layers); of :cite:t:`krajewski2024` it does not.
PUBLISHED: tuple[Published, ...] = (
    Published("chinchilla", "hoffmann2022", "besiroglu2024", "Besiroglu corrected Chinchilla", _CHINCHILLA, _BOTH, TOTAL),
    Published("chinchilla", "hoffmann2022", "hoffmann2022", _HOFFMANN_TEX, _CHINCHILLA, _BOTH, TOTAL, excluded=_SUPERSEDED),
    Published(
        "chinchilla",
        "hoffmann2022",
        "hoffmann2022",
        "Hoffmann parametric (rounded)",
        _CHINCHILLA,
        _BOTH,
        TOTAL,
        excluded=f"{_SUPERSEDED}; rounded",
    ),
    Published("chinchilla", "muennighoff2023", "muennighoff2023", _MUENNIGHOFF, _REPEATED, _BOTH, TOTAL),
    Published(
        "chinchilla", "krajewski2024", "krajewski2024", "Krajewski dense", "L=c+A/N^alpha+B/D^beta", _BOTH, NON_EMBEDDING
    ),
    Published(
        "chinchilla",
        "krajewski2024",
        "krajewski2024",
        "Krajewski fine-grained MoE",
        "L=c+(g/G^gamma+a)/N^alpha+b/D^beta",
        _BOTH,
        NON_EMBEDDING,
        excluded="another form: mixture of experts with a granularity",
    ),
    Published(
        "gadre_overtrain", "muennighoff2023", "muennighoff2023", _MUENNIGHOFF, _REPEATED, {"eta": "alpha"}, TOTAL, factor=0.5
    ),
    *_gadre("C4", 0.1212),
    *_gadre("RedPajama", 0.1364),
    *_gadre("RefinedWeb", 0.1272),
    _one("power_law", "kaplan2020", "Kaplan L(N)", "L=(N_c/N)^alpha_N", "alpha_N", "params", NON_EMBEDDING, 1.0),
    _one("power_law", "kaplan2020", "Kaplan L(D)", "L=(D_c/D)^alpha_D", "alpha_D", "tokens", NON_EMBEDDING, 1.0),
    _one("power_law", "kaplan2020", "Kaplan L(C_min)", "L=(C_c/C_min)^alpha_C", "alpha_C_min", "flops", NON_EMBEDDING, 1.0),
    _one("power_law", "kaushal2024", "Spectra FloatLM (FP16) pure power law", _PURE, "exponent", "params", UNSTATED),
    _one("power_law", "kaushal2024", "Spectra TriLM (ternary) pure power law", _PURE, "exponent", "params", UNSTATED),
    *(
        _one("power_law", "shen2024", f"Linear-complexity LMs: {name}", _COMPUTE, "L exponent", "flops", UNSTATED)
        for name in ("LLaMA", "TNL", "HGRN2", "cosFormer2")
    ),
    _one(
        "power_law_offset",
        "kaushal2024",
        "Spectra FloatLM (FP16) power law with offset",
        _OFFSET,
        "exponent",
        "params",
        UNSTATED,
    ),
    _one(
        "power_law_offset",
        "kaushal2024",
        "Spectra TriLM (ternary) power law with offset",
        _OFFSET,
        "exponent",
        "params",
        UNSTATED,
    ),
    _one("power_law_offset", "dey2023", "Cerebras-GPT L(f)", "L=(f/5.984e22)^-0.0737+0.5066", "exponent", "flops", UNSTATED),
)
