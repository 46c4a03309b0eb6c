"""Programs that are compiled once a model and shape."""

from __future__ import annotations

from typing import Any

import pytest

from bayescale.infer import programs


def test_programs_used_last_are_kept_and_others_are_let_go() -> None:
    kept: dict[Any, Any] = {}
    for key in range(4):
        programs._kept(kept, 3, key, lambda key=key: f"made for {key}")
        assert programs._kept(kept, 3, 0, lambda: pytest.fail("made again while it is in use")) == "made for 0"
    assert set(kept) == {0, 2, 3}
    assert programs._kept(kept, 3, 1, lambda: "made again") == "made again"
