"""Public tables at a pinned commit: fetched once and kept, or read from a mirror, and checked byte for byte."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from bayescale.core.errors import DownloadError

#: A folder laid out ``owner/repository/commit/path`` that is read instead of the network.
MIRROR = "BAYESCALE_MIRROR"

#: A folder to keep downloads in, instead of the user's cache folder.
CACHE = "BAYESCALE_CACHE"

BASE_URL = "https://raw.githubusercontent.com/"

#: How often a failed download is tried again.
RETRIES = 2

#: Seconds to wait for a server that says nothing.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Pin:
    """One public file: where it is, at which commit, and what it must be."""

    datasets: tuple[str, ...]
    repository: str
    commit: str
    path: str
    bytes: int
    sha256: str
    licence: str

    @property
    def key(self) -> str:
        """Its place under the base address, a mirror and the cache alike."""
        return f"{self.repository}/{self.commit}/{self.path}"


@cache
def pins() -> tuple[Pin, ...]:
    """Every public file that a remote table is made of (``registry.csv``)."""
    text = files("bayescale.data").joinpath("registry.csv").read_text(encoding="utf-8")
    return tuple(
        Pin(
            tuple(row["dataset"].split()),
            row["repository"],
            row["commit"],
            row["path"],
            int(row["bytes"]),
            row["sha256"],
            row["licence"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def pins_of(dataset: str) -> tuple[Pin, ...]:
    """The files that one table is made of."""
    return tuple(pin for pin in pins() if dataset in pin.datasets)


def fetch(dataset: str) -> dict[str, Path]:
    """The files of a table on this machine, each with the content that was pinned.

    Parameters
    ----------
    dataset : str
        Name of a remote table.

    Returns
    -------
    dict of str to Path
        The file of each path in the repository.

    Raises
    ------
    DownloadError
        When a file cannot be had, or is not what was pinned.
    """
    mirror = os.environ.get(MIRROR)
    if mirror:
        return {pin.path: _mirrored(Path(mirror), pin) for pin in pins_of(dataset)}
    folder = cache_folder()
    kept = {pin: folder / pin.key for pin in pins_of(dataset)}
    wanted = [pin for pin, path in kept.items() if _sha256(path) != pin.sha256]
    if wanted:
        _download(dataset, wanted, folder)
    return {pin.path: path for pin, path in kept.items()}


def cache_folder() -> Path:
    """Where downloads are kept: the folder that ``BAYESCALE_CACHE`` names, or the user's cache folder."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("bayescale"))


def _mirrored(mirror: Path, pin: Pin) -> Path:
    path = mirror.expanduser() / pin.key
    got = _sha256(path)
    if got is None:
        raise DownloadError(
            f"the mirror {mirror} (named by {MIRROR}) has no file {pin.key}. It must be laid out owner/repository/commit/path; "
            f"unset {MIRROR} to download from {BASE_URL}."
        )
    if got != pin.sha256:
        raise DownloadError(
            f"{path} is not the file that was pinned: expected {pin.bytes} bytes with SHA-256 {pin.sha256}, "
            f"got {path.stat().st_size} bytes with SHA-256 {got}. Put the public file back, or unset {MIRROR} to download it."
        )
    return path


def _download(dataset: str, wanted: list[Pin], folder: Path) -> None:
    """Fetch files into the cache; each is written under another name until it is whole and its checksum is right."""
    import pooch
    import requests
    from tqdm import tqdm

    store = pooch.create(
        folder,
        BASE_URL,
        registry={pin.key: f"sha256:{pin.sha256}" for pin in wanted},
        urls={pin.key: BASE_URL + quote(pin.key) for pin in wanted},
        retry_if_failed=RETRIES,
    )
    total, done = sum(pin.bytes for pin in wanted), 0
    bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"downloading {dataset}", disable=not _on_screen())

    def get(url: str, output: str, _: pooch.Pooch) -> None:  # pooch's own leaves its connection open when it fails
        with requests.get(url, stream=True, timeout=TIMEOUT) as response, open(output, "wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(chunk_size=1 << 16):
                bar.update(file.write(chunk))

    with bar, _quiet(pooch.get_logger()):
        for pin in wanted:
            try:
                store.fetch(pin.key, downloader=get)
            except Exception as error:  # requests, urllib3, pooch and the file system each have their own
                raise DownloadError(
                    f"{dataset} could not be downloaded from {store.urls[pin.key]}:\n"
                    f"  expected {pin.bytes} bytes with SHA-256 {pin.sha256}\n  got {type(error).__name__}: {error}\n"
                    f"No part of the file was kept. Try again later, or name a folder that holds the public files, laid out "
                    f"owner/repository/commit/path, in {MIRROR}."
                ) from error
            done += pin.bytes
            bar.update(done - bar.n)  # what a failed try had counted does not count


def _sha256(path: Path) -> str | None:
    """Digest of a file's content; None when there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _on_screen() -> bool:
    """Whether somebody watches: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Say nothing of single files beside the bar, and leave the logger as it was."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
