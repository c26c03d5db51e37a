from __future__ import annotations

import os
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sru_data import download
from sru_data.datasets.speech import Utterance


@pytest.fixture(scope="session", autouse=True)
def _nobody_pulls_the_plug() -> Iterator[None]:
    # Files are written hundreds of times, and each fsync takes milliseconds; only a power failure would show
    # the difference.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@dataclass
class WebServer:
    """A web server on this machine: what it serves, and what was requested."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_short: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    user_agents: set[str] = field(default_factory=set)


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path)
            site.user_agents.add(self.headers["User-Agent"])
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in site.cut_short else content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download cache, and no local data folder."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "cache_dir", lambda: folder)
    monkeypatch.delenv(download.DATA_DIR_VARIABLE, raising=False)
    return folder


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets."""
    folder = os.environ.get(download.DATA_DIR_VARIABLE)
    if not folder:
        pytest.skip(f"{download.DATA_DIR_VARIABLE} names no data folder")
    return Path(folder)


@pytest.fixture
def noise() -> Tensor:
    """A quarter of a second at 16 kHz."""
    return torch.rand(4000, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.4


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Utterance]:
    """Write (S,) or (S, channels) samples to a 16-bit WAV file."""

    def write(samples: Tensor, *, rate: int = 16_000, name: str = "x.wav") -> Utterance:
        path = tmp_path / name
        with wave.open(str(path), "wb") as file:
            file.setnchannels(samples.shape[1] if samples.dim() > 1 else 1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((samples * 32768).clamp(-32768, 32767).to(torch.int16).numpy().tobytes())
        return Utterance(name, str(path))

    return write
