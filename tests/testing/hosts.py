"""Two network namespaces of this machine, joined by a pair of TAPs and the forwarder between them."""

import json
import subprocess

from tests.testing.support import eventually, run

ADDRESSES = ("10.99.0.1", "10.99.0.2")


class Hosts:
    """Two network namespaces with one end each of a pair of TAPs."""

    def __init__(self, tag: str) -> None:
        self.names = (f"ixa{tag}", f"ixb{tag}")
        self.taps = (f"ita{tag}", f"itb{tag}")

    def __enter__(self) -> "Hosts":
        for name in self.names:
            self._ip("netns", "add", name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            run("ip", "netns", "del", name)

    @staticmethod
    def _ip(*arguments: str) -> None:
        done = run("ip", *arguments)
        assert done.returncode == 0, done.stderr

    def adopt(self) -> None:
        """Move the TAPs in and give them addresses."""
        for name, tap, address in zip(self.names, self.taps, ADDRESSES, strict=True):
            self._ip("link", "set", tap, "netns", name)
            inside = ("-n", name)
            self._ip(*inside, "addr", "add", f"{address}/24", "dev", tap)
            self._ip(*inside, "link", "set", tap, "up")

    def on(self, host: int, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command inside one of the two."""
        return run("ip", "netns", "exec", self.names[host], *command)


def assert_iperf3_completes(hosts: Hosts) -> None:
    """A TCP transfer both ways. It goes through a queue of its own size and a loaded machine: it may retransmit."""
    server = subprocess.Popen(
        ["ip", "netns", "exec", hosts.names[1], "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        eventually(lambda: "5201" in hosts.on(1, "ss", "-ltn").stdout, "iperf3 listens")
        done = hosts.on(0, "iperf3", "-c", ADDRESSES[1], "--bidir", "-t", "2", "--json")
    finally:
        server.terminate()
        server.wait()
    result = json.loads(done.stdout)
    assert done.returncode == 0, result.get("error")
    assert result["end"]["sum_received"]["bytes"] > 1_000_000
    assert result["end"]["sum_received_bidir_reverse"]["bytes"] > 1_000_000
