from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

import pytest

from sru_data import DataError, download
from sru_data.datasets.sources import locate

CONTENT = b"0 some text\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_data_dir_is_the_argument_else_the_environment_variable_else_none(tmp_path, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("SRU_DATA", str(tmp_path / "b"))
    assert download.resolve_data_dir(str(tmp_path / "a")) == tmp_path / "a"
    assert download.resolve_data_dir() == tmp_path / "b"
    monkeypatch.setenv("SRU_DATA", "")
    assert download.resolve_data_dir() is None
    monkeypatch.delenv("SRU_DATA")
    assert download.resolve_data_dir() is None


def test_a_data_dir_that_does_not_exist_is_an_error_that_says_who_named_it(tmp_path, monkeypatch) -> None:
    with pytest.raises(
        DataError, match=r"nowhere: expected the data folder that data_dir names, got no such folder"
    ):
        download.resolve_data_dir(tmp_path / "nowhere")
    monkeypatch.setenv("SRU_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"the data folder that the environment variable SRU_DATA names"):
        download.resolve_data_dir()


def test_a_local_file_is_used_as_it_is_without_any_request(tmp_path, cache, web_server) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/x.all").write_bytes(b"mine")
    path = locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=SHA256, data_dir=tmp_path)
    assert path == tmp_path / "sets/x.all"
    assert web_server.requests == []
    assert not cache.exists()


def test_a_data_dir_without_the_file_is_an_error_that_says_what_to_put_where(tmp_path, cache) -> None:
    expected = (
        re.escape(str(tmp_path / "sets/x.all"))
        + r": expected this file, got no such file; save http://home/x\.all as sets/x\.all in the data f"
    )
    with pytest.raises(DataError, match=expected):
        locate("sets/x.all", url="http://home/x.all", sha256=None, data_dir=tmp_path)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_download_is_kept_and_not_repeated(cache, web_server, sha256) -> None:
    web_server.files["/x.all"] = CONTENT
    for _ in range(2):
        path = locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=sha256)
        assert path == cache / "sets/x.all"
        assert path.read_bytes() == CONTENT
    assert web_server.requests == ["/x.all"]


def test_a_download_with_another_checksum_is_refused_and_not_kept(cache, web_server) -> None:
    web_server.files["/x.all"] = CONTENT + b"!"
    with pytest.raises(DataError, match=r"cannot download x\.all .*hash.*does not match"):
        locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=SHA256)
    assert list((cache / "sets").iterdir()) == []


def test_a_damaged_cached_file_is_downloaded_again(cache, web_server) -> None:
    web_server.files["/x.all"] = CONTENT
    (cache / "sets").mkdir(parents=True)
    (cache / "sets/x.all").write_bytes(CONTENT[:100])
    assert locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=SHA256).read_bytes() == CONTENT


def test_a_download_that_breaks_off_is_an_error_even_without_a_checksum(cache, web_server) -> None:
    web_server.files["/x.all"] = CONTENT
    web_server.cut_short.add("/x.all")
    with pytest.raises(
        DataError, match=r"cannot download x\.all \(IncompleteRead\(\d+ bytes read, \d+ more expected\)\)"
    ):
        locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=None)
    assert list((cache / "sets").iterdir()) == []


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_home_is_one_error_that_says_which_file_to_put_where(cache) -> None:
    url = f"http://127.0.0.1:{_closed_port()}/x.all"
    expected = (
        rf"^{re.escape(url)}: cannot download x\.all \(Connection refused\); download it by other means and "
        rf"save it as {re.escape(str(cache / 'sets/x.all'))}, "
        r"or as sets/x\.all in the folder that data_dir or SRU_DATA names$"
    )
    with pytest.raises(DataError, match=expected):
        locate("sets/x.all", url=url, sha256=SHA256)


def test_following_that_error_works(cache) -> None:
    (cache / "sets").mkdir(parents=True)
    (cache / "sets/x.all").write_bytes(CONTENT)
    url = f"http://127.0.0.1:{_closed_port()}/x.all"
    assert locate("sets/x.all", url=url, sha256=SHA256).read_bytes() == CONTENT


def test_a_missing_page_is_an_error_with_the_status(cache, web_server) -> None:
    with pytest.raises(DataError, match=r"cannot download x\.all \(404 Not Found\)"):
        locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=None)


def test_a_home_without_an_address_is_named_in_a_few_words(cache, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    url = "https://nowhere.invalid/x.all"
    with pytest.raises(DataError, match=rf"^{url}: cannot download x\.all \(Name or service not known\); "):
        locate("sets/x.all", url=url, sha256=SHA256)


def test_the_cache_is_a_folder_of_this_user() -> None:
    assert download.cache_dir().name == "sru-data"
    assert isinstance(download.cache_dir(), Path)


def test_a_download_can_be_checked_by_md5(cache, web_server) -> None:
    web_server.files["/x.all"] = CONTENT
    md5 = hashlib.md5(CONTENT).hexdigest()
    path = download.download("sets/x.all", url=f"{web_server.url}/x.all", sha256=None, md5=md5)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"cannot download y\.all .*hash.*does not match"):
        download.download("sets/y.all", url=f"{web_server.url}/x.all", sha256=None, md5=md5[::-1])


def test_a_download_says_who_asks(cache, web_server) -> None:
    web_server.files["/x.all"] = CONTENT
    locate("sets/x.all", url=f"{web_server.url}/x.all", sha256=SHA256)
    assert web_server.user_agents == {"Mozilla/5.0 (compatible; sru-data)"}
