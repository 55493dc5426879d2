"""The guest: a small Debian tree with QEMU, a kernel and the foreign drivers in it, and an initrd that mounts it."""

import lzma
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

RELEASE = "trixie"
# 10.1 is the first QEMU with the vfio-user client; the release itself has 10.0.
BACKPORTED = ("qemu-system-x86",)
PACKAGES = (
    "busybox-static",
    "ethtool",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "pciutils",
    "procps",
    "python3",
    "tcpdump",
)
# What the initrd loads before the tree is there; everything else comes from the tree by modprobe.
BOOT_MODULES = ("9pnet_virtio", "9p", "overlay")
LAYOUT_VERSION = "1"

_HERE = Path(__file__).resolve().parent


class NoGuestError(Exception):
    """The guest cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Image:
    """A finished tree. `root` is the guest's file system and holds QEMU too."""

    root: Path
    kernel: Path
    initrd: Path

    def qemu(self) -> list[str]:
        """QEMU of the tree, run by the tree's own loader: works without chroot and on an older host."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        return [
            str(libraries / "ld-linux-x86-64.so.2"),
            "--library-path",
            f"{libraries}:{libraries / 'pulseaudio'}",
            str(self.root / "usr/bin/qemu-system-x86_64"),
            "-L",
            str(self.root / "usr/share/qemu"),
            "-L",
            str(self.root / "usr/share/seabios"),
        ]


def image_at(directory: Path) -> Image | None:
    """The image in `directory` if a finished one of this layout is there."""
    stamp = directory / "stamp"
    if not stamp.exists() or stamp.read_text() != _stamp():
        return None
    return Image(directory / "root", directory / "vmlinuz", directory / "initrd")


def build(directory: Path, log: Path) -> Image:
    """Build the image in `directory`, about a minute and 1 GB; an image that is there is taken as it is.

    Raises NoGuestError if this machine cannot: not root, no debootstrap, packages out of reach.
    """
    ready = image_at(directory)
    if ready is not None:
        return ready
    if os.geteuid() != 0:
        raise NoGuestError("building the guest needs root (debootstrap); run `sudo scripts/vm build` once")
    if shutil.which("debootstrap") is None:
        raise NoGuestError("debootstrap is missing; `apt-get install debootstrap` brings it")
    root = directory / "root"
    shutil.rmtree(directory, ignore_errors=True)
    root.mkdir(parents=True)
    with log.open("wb") as output:
        mirror = _mirror()
        _step(output, ["debootstrap", "--variant=minbase", RELEASE, str(root), mirror])
        _sources(root, mirror)
        _step(output, ["chroot", str(root), "apt-get", "update", "-q"])
        _install(output, root, PACKAGES)
        _install(output, root, BACKPORTED, "-t", f"{RELEASE}-backports")
        _testpmd(output, root)
        version = _kernel(output, root)
    shutil.copy(root / "boot" / f"vmlinuz-{version}", directory / "vmlinuz")
    _initrd(root, version, directory)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    (directory / "stamp").write_text(_stamp())
    built = image_at(directory)
    assert built is not None
    return built


def _stamp() -> str:
    return " ".join((LAYOUT_VERSION, RELEASE, *BACKPORTED, *PACKAGES, *BOOT_MODULES)) + "\n"


def _mirror() -> str:
    """The mirror this machine itself uses: it is the one that can be reached."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=False
    )
    sites = [site for site in listed.stdout.split() if site.rstrip("/").endswith("/debian")]
    return sites[0] if sites else "http://deb.debian.org/debian"


def _sources(root: Path, mirror: str) -> None:
    line = f"deb {mirror} {RELEASE}-backports main\n"
    (root / "etc/apt/sources.list.d/backports.list").write_text(line)
    # Nothing in the tree may start a service on the host.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def _install(output: BinaryIO, root: Path, packages: tuple[str, ...], *options: str) -> None:
    _step(
        output,
        ["chroot", str(root), "apt-get", "install", "-q", "-y", "--no-install-recommends", *options, *packages],
    )


def _testpmd(output: BinaryIO, root: Path) -> None:
    """DPDK's testpmd is in a development package that wants a compiler: take the program and the libraries it names."""
    chroot = ["chroot", str(root)]
    _step(output, [*chroot, "sh", "-c", "cd /tmp && apt-get download -q dpdk-dev && mv dpdk-dev_*.deb dpdk-dev.deb"])
    depends = subprocess.run(
        [*chroot, "dpkg-deb", "-f", "/tmp/dpdk-dev.deb", "Depends"], capture_output=True, text=True, check=True
    ).stdout
    names = {entry.split()[0] for entry in depends.replace("\n", " ").split(",")} - {"libdpdk-dev"}
    driver = next(name for name in names if name.startswith("librte-net-ixgbe"))
    names.add(driver.replace("net-ixgbe", "mempool-ring"))  # the default pool is only recommended
    _install(output, root, tuple(sorted(names)))
    _step(output, [*chroot, "sh", "-c", "dpkg -x /tmp/dpdk-dev.deb / && rm /tmp/dpdk-dev.deb"])


def _kernel(output: BinaryIO, root: Path) -> str:
    """The distribution's kernel, unpacked without its hooks. The cloud flavour has neither ixgbe nor 9p."""
    chroot = ["chroot", str(root)]
    depends = subprocess.run(
        [*chroot, "apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
    ).stdout.split()
    package = next(word for word in depends if word.startswith("linux-image-") and word != "linux-image-amd64")
    version = package.removeprefix("linux-image-")
    _step(output, [*chroot, "sh", "-c", f"cd /tmp && apt-get download -q {package} && dpkg -x {package}_*.deb /"])
    _step(output, [*chroot, "sh", "-c", f"rm -f /tmp/{package}_*.deb; depmod {version}"])
    return version


def _initrd(root: Path, version: str, directory: Path) -> None:
    """busybox, the modules for a 9p root in the order they need, and `init`."""
    stage = directory / "initrd.d"
    shutil.rmtree(stage, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "new"):
        (stage / folder).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", stage / "bin/busybox")
    shutil.copy(_HERE / "init", stage / "init")
    (stage / "init").chmod(0o755)
    modules = _in_order(root, version)
    for module in modules:
        data = module.read_bytes()
        (stage / "modules" / module.name.removesuffix(".xz")).write_bytes(
            lzma.decompress(data) if module.suffix == ".xz" else data
        )
    (stage / "modules/list").write_text("".join(f"{m.name.removesuffix('.xz')}\n" for m in modules))
    names = "\n".join(sorted(str(path.relative_to(stage)) for path in stage.rglob("*")))
    with (directory / "initrd").open("wb") as out:
        busybox = [str(root / "usr/bin/busybox"), "cpio", "-o", "-H", "newc"]
        subprocess.run(busybox, cwd=stage, input=names.encode(), stdout=out, stderr=subprocess.DEVNULL, check=True)
    shutil.rmtree(stage)


def _in_order(root: Path, version: str) -> list[Path]:
    found: dict[Path, None] = {}
    for name in BOOT_MODULES:
        shown = subprocess.run(
            ["chroot", str(root), "modprobe", "-D", "-S", version, name], capture_output=True, text=True, check=True
        ).stdout
        for line in shown.splitlines():
            kind, _, path = line.partition(" ")
            if kind == "insmod":
                found[root / path.split()[0].lstrip("/")] = None
    return list(found)


def _step(output: BinaryIO, command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
    )
    if done.returncode:
        raise NoGuestError(f"`{' '.join(command[:6])} ...` failed with status {done.returncode}")
