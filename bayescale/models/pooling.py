"""How one parameter of a law varies over groups: one value for all, a population of values, or each on its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from bayescale.core.errors import SpecError


def _columns(by: str | tuple[str, ...]) -> tuple[str, ...]:
    columns = (by,) if isinstance(by, str) else tuple(by)
    if not columns or not all(isinstance(c, str) and c for c in columns):
        raise SpecError(f"`by` is a group column or a tuple of them from the outermost in, got {by!r}")
    if len(set(columns)) < len(columns):
        raise SpecError(f"`by` names a column twice: {columns}")
    return columns


@dataclass(frozen=True)
class CompletePooling:
    """One value for all runs."""

    by: tuple[str, ...] = field(default=(), init=False)


@dataclass(frozen=True)
class PartialPooling:
    """One value a group, drawn from a population: ``link(value) ~ Normal(mu, tau)``.

    Parameters
    ----------
    by : str or tuple of str
        Group column, or nested columns from the outermost in (``("architecture", "family")``): a family then varies
        about its architecture, and architectures about the whole.
    across_conventions : bool
        Pool an exponent although the groups state their scales or losses in different units or conventions.
    centered : bool, optional
        Sample the values themselves (True) or their standardised offsets (False). By default, in groups of two runs or
        more, exponents are half centred, and levels (amplitudes, floors) are centred where there are eight groups or
        more, three quarters where there are fewer; nothing is in smaller groups. This changes how fast the sampler moves,
        not the model.
    """

    by: str | tuple[str, ...]
    across_conventions: bool = False
    centered: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _columns(self.by))


@dataclass(frozen=True)
class NoPooling:
    """One value a group, each with the law's own prior and nothing learnt from the others.

    Parameters
    ----------
    by : str or tuple of str
        Group column, or several whose combinations are the groups.
    """

    by: str | tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _columns(self.by))


Pooling = CompletePooling | PartialPooling | NoPooling
