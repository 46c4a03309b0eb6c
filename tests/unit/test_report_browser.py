"""The page in a browser: it renders, runs nothing, asks for nothing, fits a phone and prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import bayescale as bs
from tests.report_fakes import HOSTILE, Page, hostile_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on the PATH: a browser is what this is about")

QUIET = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
#: Tells how wide the page is, and how wide its window; ours runs no script, so this one is put into a copy without the policy.
RULER = "<script>const e = document.documentElement; parent.document.title += ` ${e.scrollWidth}/${e.clientWidth}`</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, in a folder of its own."""
    made = tmp_path_factory.mktemp("page")
    bs.write_report(hostile_report(), made / "report.html")
    return made


def browse(address: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What headless Chromium says about a page: its document on one stream, its console on the other."""
    assert CHROMIUM is not None
    own = ("--headless", "--no-sandbox", *QUIET, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--v=0")
    done = subprocess.run([CHROMIUM, *own, *words, address], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Messages of the page; others are the browser's own."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_it_renders_names_stay_text_and_no_request_leaves_it(folder: Path) -> None:
    asked: list[str] = []

    class Told(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Told, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            done = browse(f"http://127.0.0.1:{server.server_port}/report.html", folder, "--dump-dom")
        finally:
            server.shutdown()
    assert asked == ["/report.html"]
    assert console(done) == []
    page = Page(done.stdout)
    assert not page.all("script")
    assert HOSTILE in page.text
    assert page.all("title")[0].text.startswith("GO: loss ≤ 2.1")
    assert [e.attributes["src"][:26] for e in page.all("img")] == ["data:image/svg+xml;base64,"] * 4


def test_the_console_would_tell_of_a_script(folder: Path) -> None:
    """What the test above finds empty is not so where there is something: the policy stops a script and says so."""
    broken = (folder / "report.html").read_text(encoding="utf-8").replace("</main>", "<script>alert(1)</script></main>")
    (folder / "broken.html").write_text(broken, encoding="utf-8")
    told = console(browse((folder / "broken.html").as_uri(), folder, "--dump-dom"))
    assert any("Content Security Policy" in line for line in told)


def test_nothing_scrolls_sideways(folder: Path) -> None:
    """In frames of these widths, since a window of Chromium is no narrower than 500 pixels."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", (folder / "report.html").read_text(encoding="utf-8"))
    (folder / "free.html").write_text(page.replace("</body>", f"{RULER}</body>"), encoding="utf-8")
    widths = (360, 768, 1280)
    frames = "".join(f'<iframe src="free.html" style="width:{w}px;height:900px;border:0"></iframe>' for w in widths)
    (folder / "frames.html").write_text(f"<title>widths</title>{frames}", encoding="utf-8")
    unruly = ("--allow-file-access-from-files", "--hide-scrollbars")
    done = browse((folder / "frames.html").as_uri(), folder, "--dump-dom", *unruly)
    (title,) = re.findall(r"<title>widths (.*?)</title>", done.stdout)
    assert sorted(title.split()) == sorted(f"{w}/{w}" for w in widths)


def test_it_prints(folder: Path) -> None:
    paper = folder / "page.pdf"
    browse((folder / "report.html").as_uri(), folder, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000
