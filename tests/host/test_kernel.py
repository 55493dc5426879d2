"""Reading and writing what the kernel shows as files: what happens when it cannot be done."""

import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.host import kernel as module
from ixyfwd.host.kernel import Kernel


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_what_cannot_be_read_is_empty(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "word").write_text("word\n")
    for path in ("/missing", "/folder"):
        assert (kernel.text(path), kernel.number(path), kernel.link(path)) == ("", None, "")
    assert (kernel.text("/word"), kernel.number("/word"), kernel.names("/word")) == ("word", None, [])
    (tmp_path / "hex").write_text("0x10\n")
    assert kernel.number("/hex") == 16


def test_links_are_followed_below_the_root(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a/.b").mkdir(parents=True)
    (tmp_path / "c").symlink_to("a/.b")
    assert (kernel.real("/c"), kernel.link("/c"), kernel.real("/")) == ("/a/.b", "a/.b", "/")


def test_a_write_is_one_line_and_makes_no_file(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kernel.write("/file", "value")
    assert (tmp_path / "file").read_text() == "value\n"
    with pytest.raises(IxyfwdError, match=r"/missing: writing 'x' failed \(No such file or directory\); `dmesg`"):
        kernel.write("/missing", "x")
    assert not (tmp_path / "missing").exists()


def test_replace_leaves_the_old_file_when_it_fails(kernel: Kernel, tmp_path: Path) -> None:
    kernel.replace("/file", b"old")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    (tmp_path / "elsewhere").touch()
    (tmp_path / "file.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        kernel.replace("/file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and (tmp_path / "elsewhere").read_bytes() == b""


def test_replace_removes_what_it_could_not_finish(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    kernel.replace("/file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kernel.replace("/file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def a_modprobe(folder: Path, script: str) -> str:
    (folder / "modprobe").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "modprobe").chmod(0o755)
    return str(folder)


def test_modprobe(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_modprobe(tmp_path, f"echo $* >{tmp_path}/said")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    kernel.modprobe("vfio-pci")
    assert (tmp_path / "said").read_text() == "vfio-pci\n"
    a_modprobe(tmp_path, "echo FATAL: not found >&2; exit 1")
    with pytest.raises(IxyfwdError, match="`modprobe vfio-pci` failed: FATAL: not found"):
        kernel.modprobe("vfio-pci")
    a_modprobe(tmp_path, "exec sleep 10")
    monkeypatch.setattr(module, "_MODPROBE_TIMEOUT_S", 0.1)
    with pytest.raises(IxyfwdError, match=r"did not end within 0.1 s"):
        kernel.modprobe("vfio-pci")
    (tmp_path / "modprobe").write_text("no program")
    with pytest.raises(IxyfwdError, match="cannot be run"):
        kernel.modprobe("vfio-pci")
    monkeypatch.setattr("ixyfwd.host.kernel.shutil.which", lambda *_, **__: None)
    with pytest.raises(IxyfwdError, match="modprobe is not installed"):
        kernel.modprobe("vfio-pci")


def test_only_root_changes_drivers(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(IxyfwdError, match="only root can take a device"):
        kernel.check_privilege()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    kernel.check_privilege()


def test_addresses_of_labels_belong_to_their_interface(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(family: int, address: str, netmask: str | None) -> Any:
        return SimpleNamespace(family=family, address=address, netmask=netmask)

    found = {
        "eth0": [
            entry(socket.AF_INET, "10.0.0.1", "255.255.255.0"),
            entry(socket.AF_INET6, "fe80::1%eth0", "ffff:ffff:ffff:ffff::"),
            entry(socket.AF_PACKET, "02:00:00:00:00:01", None),
        ],
        "eth0:1": [entry(socket.AF_INET, "10.0.1.1", None)],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    assert kernel.addresses() == {"eth0": ("10.0.0.1/24", "fe80::1/64", "10.0.1.1")}
