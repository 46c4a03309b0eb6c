"""What a check found, as data: a status, the number behind it, the line it was held against, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import Any

import pandas as pd


class Status(StrEnum):
    """How a finding bears on a decision: PASS does not, REVIEW wants a look, FAIL stops a GO."""

    PASS = "PASS"
    REVIEW = "REVIEW"
    FAIL = "FAIL"
    NOT_ASSESSED = "NOT_ASSESSED"


#: The worse the status, the larger its rank; evidence that was not supplied is never a pass.
_RANK = {Status.PASS: 0, Status.NOT_ASSESSED: 1, Status.REVIEW: 2, Status.FAIL: 3}


@dataclass(frozen=True)
class Finding:
    """One thing a check found.

    Parameters
    ----------
    check : str
        Name of the check, e.g. ``"convergence"``.
    status : Status
        PASS, REVIEW, FAIL or NOT_ASSESSED.
    message : str
        What was found, in one sentence.
    value, threshold : float, optional
        The number behind the status, and the line it was held against.
    advice : str
        What to do about it; empty for a PASS.
    """

    check: str
    status: Status
    message: str
    value: float | None = None
    threshold: float | None = None
    advice: str = ""

    @property
    def text(self) -> str:
        """What was found, and what to do about it."""
        return f"{self.message.rstrip('.')}. {self.advice}" if self.advice else self.message


@dataclass(frozen=True, repr=False)
class Review:
    """All findings about a table, a fit or a forecast, in the order in which they were made."""

    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Status:
        """The worst status among the findings (PASS, or NOT_ASSESSED, when there is none worse)."""
        return max((f.status for f in self.findings), key=_RANK.__getitem__, default=Status.NOT_ASSESSED)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __add__(self, other: Review) -> Review:
        return Review(self.findings + other.findings)

    def only(self, *statuses: Status) -> tuple[Finding, ...]:
        """The findings of the given statuses."""
        return tuple(f for f in self.findings if f.status in statuses)

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: check, status, value, threshold, message, advice."""
        columns = ["check", "status", "value", "threshold", "message", "advice"]
        rows: list[dict[str, Any]] = [{c: getattr(f, c) for c in columns} for f in self.findings]
        return pd.DataFrame(rows, columns=columns).astype({"status": str, "value": float, "threshold": float})

    def __str__(self) -> str:
        lines = [f"Review: {self.status}"]
        for f in self.findings:
            lines.append(f"  {f.status:<12} {f.check}: {f.text}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><b>{f.status}</b></td><td>{escape(f.check)}</td><td>{escape(f.message)}</td><td>{escape(f.advice)}</td></tr>"
            for f in self.findings
        )
        head = "<tr><th>status</th><th>check</th><th>finding</th><th>what to do</th></tr>"
        return f"<p>Review: <b>{self.status}</b></p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"
