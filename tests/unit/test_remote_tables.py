"""Remote tables: download, checksum and tidying, each result against the same table made by other hands."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pooch
import pytest

from bayescale.core.errors import BayescaleError, DownloadError
from bayescale.data import remote
from bayescale.data.datasets import DATASETS, load_dataset
from bayescale.data.inspection import inspect_runs
from bayescale.data.recipes import RECIPES
from bayescale.data.runs import Runs

REMOTE = [name for name, dataset in DATASETS.items() if dataset.where == "remote"]

#: Columns of the reference tables that are not rebuilt: lists that the source keeps in code.
NOT_REBUILT = {"is_code_family", "preregistered", "in_sub10b_file"}

CHINCHILLA = "data/svg_extracted_data.csv"
CONTENT = b"x,y,color,Model Size,Training FLOP,hex_color,loss\n1.0,2.0,#fff,1e9,6e19,#fff,2.5\n"


@cache
def mirror() -> Path:
    named = os.environ.get("BAYESCALE_MIRROR")
    if not named:
        pytest.skip("BAYESCALE_MIRROR is not set: no copy of the public files to read")
    return Path(named)


@cache
def tidied(name: str) -> pd.DataFrame:
    mirror()
    return load_dataset(name)


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, no mirror, and no second try."""
    monkeypatch.delenv("BAYESCALE_MIRROR", raising=False)
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "RETRIES", 0)
    return tmp_path / "cache"


@pytest.fixture
def one_pin(monkeypatch: pytest.MonkeyPatch) -> remote.Pin:
    """A registry of one small file."""
    pin = remote.Pin(
        ("chinchilla",), "owner/repository", "c0ffee", CHINCHILLA, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT"
    )
    monkeypatch.setattr(remote, "pins", lambda: (pin,))
    return pin


class Handler(SimpleHTTPRequestHandler):
    """Serves one content at every address, or a part of it, or an error; counts the calls."""

    content = CONTENT
    sent: int | None = None
    status = 200
    calls = 0

    def do_GET(self) -> None:
        type(self).calls += 1
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: self.sent])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    handler = type("ThisHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(remote, "BASE_URL", f"http://127.0.0.1:{httpd.server_port}/")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield handler
        httpd.shutdown()


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_remote_table_is_pinned() -> None:
    assert {name for pin in remote.pins() for name in pin.datasets} == set(REMOTE)
    for pin in remote.pins():
        assert len(pin.sha256) == 64
        assert len(pin.commit) == 40
        assert pin.bytes > 0
        assert pin.licence
    assert len({pin.key for pin in remote.pins()}) == len(remote.pins()) == 219


@pytest.mark.parametrize("name", REMOTE)
def test_a_remote_table_equals_the_reference(name: str) -> None:
    folder = os.environ.get("BAYESCALE_DATA_DIR")
    if not folder:
        pytest.skip("BAYESCALE_DATA_DIR is not set: no tables to compare with")
    got, want = tidied(name), pd.read_csv(Path(folder) / name / f"{name}.csv")
    assert list(got) == [column for column in want if column not in NOT_REBUILT]
    assert len(got) == len(want) == DATASETS[name].rows
    for column in got:
        if pd.api.types.is_numeric_dtype(got[column]):
            np.testing.assert_allclose(
                got[column].to_numpy(float), want[column].to_numpy(float), rtol=1e-9, atol=0, err_msg=column
            )
        else:
            assert got[column].tolist() == want[column].tolist(), column


@pytest.mark.parametrize("name", sorted(set(RECIPES) & set(REMOTE)))
def test_the_recommended_rows_are_runs_without_a_fault(name: str) -> None:
    mirror()
    runs = Runs.from_frame(load_dataset(name, runs=True))
    assert (
        len(runs) == {"chinchilla": 240, "overtraining": 104, "hyperparameters": 33, "routed_moe": 166, "crossover": 231}[name]
    )
    assert not [finding for finding in inspect_runs(runs) if finding.status == "FAIL"]
    assert not [finding for finding in inspect_runs(runs) if finding.check == "trend" and finding.status != "PASS"]


def test_the_recommended_rows_of_chinchilla() -> None:
    runs, table = load_dataset("chinchilla", runs=True) if mirror() else None, tidied("chinchilla")
    assert runs is not None
    assert list(runs) == ["params", "tokens", "flops", "loss"]
    assert runs["loss"].max() < table["loss_nats"].nlargest(5).min()


def test_the_recommended_rows_of_overtraining() -> None:
    mirror()
    runs = load_dataset("overtraining", runs=True)
    np.testing.assert_array_equal(runs["loss"], tidied("overtraining")["loss_nats_c4_val"])
    assert set(runs["dataset"]) == {"C4", "RedPajama", "RefinedWeb"}


def test_the_recommended_rows_are_the_best_of_each_grid() -> None:
    mirror()
    runs, table = load_dataset("hyperparameters", runs=True), tidied("hyperparameters")
    best = table.groupby(["params_active", "tokens"])["loss_nats_smoothed"].min()
    assert sorted(runs["loss"]) == sorted(best)
    assert set(runs["layout"]) == {"dense", "1 of 89 experts", "2 of 88 experts", "1 of 8 experts", "3 of 8 experts"}
    curves = load_dataset("crossover", runs=True)
    assert curves["error"].equals(curves["loss"])
    assert not curves.duplicated(["architecture", "vision_tower", "samples"]).any()


def copy_of_mirror(name: str, to: Path) -> Path:
    (pin,) = remote.pins_of(name)
    target = to / pin.key
    target.parent.mkdir(parents=True)
    shutil.copyfile(mirror() / pin.key, target)
    target.chmod(0o644)
    return target


def test_an_altered_file_of_a_mirror_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = copy_of_mirror("chinchilla", tmp_path)
    monkeypatch.setenv("BAYESCALE_MIRROR", str(tmp_path))
    assert len(load_dataset("chinchilla")) == 245
    content = target.read_bytes()
    target.write_bytes(content.replace(b"5.00558", b"4.00558"))
    (pin,) = remote.pins_of("chinchilla")
    with pytest.raises(
        DownloadError, match=rf"is not the file that was pinned: expected 23224 bytes with SHA-256 {pin.sha256}"
    ) as caught:
        load_dataset("chinchilla")
    assert hashlib.sha256(target.read_bytes()).hexdigest() in str(caught.value)
    target.write_bytes(content[:1000])
    with pytest.raises(DownloadError, match="got 1000 bytes"):
        load_dataset("chinchilla")


def test_a_mirror_without_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAYESCALE_MIRROR", str(tmp_path))
    with pytest.raises(
        DownloadError, match=r"has no file epoch-research/analyzing-chinchilla/9225\w+/data/svg.* laid out owner"
    ) as caught:
        load_dataset("chinchilla")
    assert isinstance(caught.value, BayescaleError)
    assert isinstance(caught.value, OSError)
    assert files_of(tmp_path) == []


def test_a_download_is_kept_and_not_repeated(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    files = remote.fetch("chinchilla")
    assert files == {CHINCHILLA: no_mirror / "owner" / "repository" / "c0ffee" / CHINCHILLA}
    assert files[CHINCHILLA].read_bytes() == CONTENT
    assert remote.fetch("chinchilla") == files
    assert server.calls == 1
    assert len(load_dataset("chinchilla")) == 1


def test_a_damaged_file_of_the_cache_is_fetched_anew(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    path = remote.fetch("chinchilla")[CHINCHILLA]
    path.write_bytes(b"half of it")
    assert remote.fetch("chinchilla")[CHINCHILLA].read_bytes() == CONTENT
    assert server.calls == 2


def test_a_truncated_download_leaves_no_half_file(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    server.sent = 20
    with pytest.raises(DownloadError, match="chinchilla could not be downloaded from http") as caught:
        remote.fetch("chinchilla")
    assert f"expected {len(CONTENT)} bytes with SHA-256 {one_pin.sha256}" in str(caught.value)
    assert "20 bytes read" in str(caught.value)
    assert "No part of the file was kept" in str(caught.value)
    assert files_of(no_mirror) == []
    server.sent = None
    assert remote.fetch("chinchilla")[CHINCHILLA].read_bytes() == CONTENT


def test_an_altered_download_leaves_no_file(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    server.content = CONTENT.replace(b"2.5", b"2.4")
    with pytest.raises(DownloadError, match="does not match the known hash") as caught:
        remote.fetch("chinchilla")
    assert one_pin.sha256 in str(caught.value)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
    assert files_of(no_mirror) == []


def test_an_altered_download_does_not_replace_a_good_file(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    path = remote.fetch("chinchilla")[CHINCHILLA]
    server.status = 500
    assert remote.fetch("chinchilla")[CHINCHILLA] == path
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_gone(no_mirror: Path, one_pin: remote.Pin, server: type[Handler]) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="404") as caught:
        remote.fetch("chinchilla")
    assert "BAYESCALE_MIRROR" in str(caught.value)
    assert files_of(no_mirror) == []


def test_no_network(no_mirror: Path, one_pin: remote.Pin, monkeypatch: pytest.MonkeyPatch, server: type[Handler]) -> None:
    monkeypatch.setattr(remote, "BASE_URL", "http://127.0.0.1:9/")
    with pytest.raises(DownloadError, match="ConnectionError"):
        remote.fetch("chinchilla")
    assert files_of(no_mirror) == []


def test_a_failed_download_is_tried_again(
    no_mirror: Path, one_pin: remote.Pin, server: type[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RETRIES", 1)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server.status = 503
    with pytest.raises(DownloadError, match="503"):
        remote.fetch("chinchilla")
    assert server.calls == 2


def test_a_download_is_silent_off_screen_and_leaves_the_logger_alone(
    no_mirror: Path, one_pin: remote.Pin, server: type[Handler], capfd: pytest.CaptureFixture[str]
) -> None:
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        remote.fetch("chinchilla")
        assert capfd.readouterr() == ("", "")
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


def test_a_download_shows_its_progress_on_a_screen(
    no_mirror: Path,
    one_pin: remote.Pin,
    server: type[Handler],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(remote, "_on_screen", lambda: True)
    remote.fetch("chinchilla")
    assert "downloading chinchilla: 100%" in capfd.readouterr().err


def test_a_name_with_odd_characters_is_quoted(no_mirror: Path, server: type[Handler], monkeypatch: pytest.MonkeyPatch) -> None:
    path = "exp data/d=96_l=8?.json"
    pin = remote.Pin(("chinchilla",), "o/r", "c", path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT")
    monkeypatch.setattr(remote, "pins", lambda: (pin,))
    assert remote.fetch("chinchilla")[path].read_bytes() == CONTENT


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BAYESCALE_CACHE", raising=False)
    assert remote.cache_folder().name == "bayescale"
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path))
    assert remote.cache_folder() == tmp_path
