"""bind and unbind on a machine made of files: every step, every refusal, death between any two steps."""

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.host import restore as restoring
from ixyfwd.host.bind import bind, plan
from ixyfwd.host.journal import FILE, LOCK, Journal, load
from ixyfwd.host.restore import needs_replay, planned, restore, unbind, unbind_all
from tests.testing.host_fake import BUS, FakeKernel, Killed

A, B = "0000:01:00.0", "0000:02:00.0"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Two ixgbe ports, eth0 and eth1, each in an IOMMU group of its own; vfio-pci is loaded."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return two_ports(tmp_path)


def two_ports(root: Path) -> FakeKernel:
    kernel = FakeKernel(root)
    kernel.add_device(A, group="7")
    kernel.add_device(B, interface="eth1", group="8")
    kernel.add_driver("vfio-pci")
    return kernel


def journal(kernel: FakeKernel) -> Any:
    return json.loads(kernel.at(FILE).read_text())


# there and back


def test_to_vfio_and_back(kernel: FakeKernel) -> None:
    (binding,) = bind(kernel, ["eth0"], None, force=False)
    assert (binding.target, kernel.state(), kernel.state(B)) == ("vfio-pci", ("vfio-pci", "vfio-pci"), ("ixgbe", ""))
    assert kernel.log == [
        f"journal {FILE}",
        f"{BUS}/devices/{A}/driver_override <- vfio-pci",
        f"{BUS}/drivers/ixgbe/unbind <- {A}",
        f"{BUS}/drivers_probe <- {A}",
        f"journal {FILE}",
    ]
    (entry,) = journal(kernel)["devices"]
    assert (entry["driver"], entry["state"], entry["interfaces"][0]["name"]) == ("ixgbe", "bound", "eth0")
    assert stat.S_IMODE(kernel.at(FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(kernel.at(FILE).parent.stat().st_mode) == 0o700
    (back,) = unbind(kernel, ["eth0"])
    assert (back.driver, back.interfaces, back.notes) == ("ixgbe", ("eth0",), ())
    assert kernel.state() == ("ixgbe", "")
    assert load(kernel) == {}


def test_without_an_iommu_the_device_is_left_without_a_driver(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add_device(A)
    assert bind(kernel, ["1:00.0".zfill(7)], None, force=False)[0].target == "none"
    assert kernel.state() == ("", "none")
    with pytest.raises(UsageError, match="vfio-pci needs an IOMMU"):
        bind(kernel, [A], "vfio-pci", force=False)
    (back,) = unbind_all(kernel)
    assert (back.driver, kernel.state()) == ("ixgbe", ("ixgbe", ""))


def test_vfio_pci_is_loaded_when_it_is_not_there(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add_device(A, group="7")
    with pytest.raises(IxyfwdError, match=r"modprobe vfio-pci.*failed: not found\nthe drivers are as they were before"):
        bind(kernel, [A], None, force=False)
    assert (kernel.state(), load(kernel)) == (("ixgbe", ""), {})
    kernel.modules.add("vfio-pci")
    bind(kernel, [A], None, force=False)
    assert kernel.state()[0] == "vfio-pci"


def test_a_virtio_interface_names_its_function(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.add_device(A, driver="virtio-pci", ids="1af4:1041", virtio=True)
    bind(kernel, ["eth0"], "none", force=False)
    assert kernel.state() == ("", "none")
    assert unbind(kernel, ["eth0"])[0].interfaces == ("eth0",)


def test_a_device_twice_is_one_device_and_a_bound_one_stays(kernel: FakeKernel) -> None:
    assert len(bind(kernel, ["eth0", A, A.upper()], None, force=False)) == 1
    kernel.log.clear()
    for name in (A, "eth0"):  # a script that runs again names the interface that is no more
        assert bind(kernel, [name], None, force=False)[0].steps == ()
    assert kernel.log == []


def test_an_override_of_before_comes_back(kernel: FakeKernel) -> None:
    kernel.put(f"{BUS}/devices/{A}/driver_override", "ixgbe")
    bind(kernel, [A], None, force=False)
    unbind_all(kernel)
    assert kernel.state() == ("ixgbe", "ixgbe")


def test_from_one_target_to_the_other_the_first_driver_is_remembered(kernel: FakeKernel) -> None:
    bind(kernel, [A], "vfio-pci", force=False)
    bind(kernel, [A], "none", force=False)
    assert kernel.state() == ("", "none")
    assert unbind_all(kernel)[0].driver == "ixgbe"


def test_a_driver_that_was_given_the_device_by_hand_gets_it_back(kernel: FakeKernel) -> None:
    kernel.add_driver("other")
    kernel.write(f"{BUS}/drivers/ixgbe/unbind", A)
    kernel.write(f"{BUS}/drivers/other/bind", A)
    kernel._native[A] = ("", "", False)  # no probe finds it
    bind(kernel, [A], None, force=True)
    assert unbind_all(kernel)[0].driver == "other"


def test_unbind_without_an_entry_lets_the_kernel_choose(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    kernel.at(FILE).unlink()
    assert unbind(kernel, [A])[0].driver == "ixgbe"
    (second,) = unbind(kernel, [A])
    assert second.steps == () and "nothing to do" in second.notes[0]


def test_an_override_that_a_lost_journal_left_is_taken_away(kernel: FakeKernel) -> None:
    kernel.fuse = 2
    with pytest.raises(Killed):
        bind(kernel, [A], None, force=False)
    kernel.fuse = None
    kernel.at(FILE).unlink()
    assert kernel.state() == ("ixgbe", "vfio-pci")
    unbind(kernel, [A])
    assert kernel.state() == ("ixgbe", "")


def test_one_that_cannot_be_given_back_does_not_keep_the_others(kernel: FakeKernel) -> None:
    bind(kernel, [A, B], None, force=False)
    kernel.refuse[f"{BUS}/devices/{A}/driver_override"] = "Input/output error"
    with pytest.raises(IxyfwdError, match=f"Input/output error.*\n{B}: back with ixgbe all the same"):
        unbind_all(kernel)
    assert (kernel.state(A)[0], kernel.state(B)[0], list(load(kernel))) == ("vfio-pci", "ixgbe", [A])
    kernel.refuse.clear()
    assert [one.driver for one in restore(kernel)] == ["ixgbe"]


def test_what_a_driver_does_not_bring_back_is_told(kernel: FakeKernel) -> None:
    kernel.ips["eth0"] = ("10.0.0.1/24", "fe80::1/64")
    bind(kernel, [A], None, force=True)
    (back,) = unbind_all(kernel)
    assert back.notes == (
        "eth0 had an address before, which a driver does not bring back: "
        "`ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up`",
    )


def test_an_interface_under_another_name_is_told(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "INTERFACE_TIMEOUT_S", 0.0)
    bind(kernel, [A], None, force=False)
    kernel._native[A] = ("ixgbe", "eth5", False)
    assert unbind_all(kernel)[0].notes == (f"{A}: the interface was eth0 before, it is eth5 now",)


# dry run


def test_a_dry_run_names_every_write_and_touches_nothing(kernel: FakeKernel) -> None:
    bindings = plan(kernel, ["eth0", "eth1"], None, force=False)
    steps = [str(step) for binding in bindings for step in binding.steps]
    assert steps[:3] == [
        f"write 'vfio-pci' to {BUS}/devices/{A}/driver_override",
        f"write '{A}' to {BUS}/drivers/ixgbe/unbind",
        f"write '{A}' to {BUS}/drivers_probe",
    ]
    assert kernel.log == [] and not kernel.at("/var/lib/ixyfwd").exists()
    bind(kernel, ["eth0", "eth1"], None, force=False)
    done = [line for line in kernel.log if not line.startswith("journal")]
    assert [step.split(" to ")[1] for step in steps] == [line.split(" <- ")[0] for line in done]


def test_a_dry_unbind_names_every_write(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    kernel.log.clear()
    (shown,) = planned(kernel, ["eth0"])
    assert planned(kernel, None) == [shown] and kernel.log == []
    unbind_all(kernel)
    done = [line.split(" <- ")[0] for line in kernel.log if not line.startswith("journal")]
    assert [str(step).split(" to ")[1] for step in shown.steps] == done


# refusals


@pytest.mark.parametrize("ways", [["eth0"], [B, A]])
def test_a_device_in_use_is_refused_before_anything_is_touched(kernel: FakeKernel, ways: list[str]) -> None:
    kernel.ips["eth0"] = ("10.0.0.1/24",)
    with pytest.raises(RefusedError, match=r"eth0 has the address 10.0.0.1/24; .* first, or use --force"):
        bind(kernel, ways, None, force=False)
    assert kernel.log == [] and not kernel.at("/var/lib/ixyfwd").exists()
    bindings = bind(kernel, ways, None, force=True)
    assert [note for one in bindings for note in one.notes] == [
        f"{A} (eth0): by force although eth0 has the address 10.0.0.1/24"
    ]


def test_all_refusals_are_told_at_once(kernel: FakeKernel) -> None:
    kernel.ips |= {"eth0": ("10.0.0.1/24",), "eth1": ("2001:db8::1/64",)}
    with pytest.raises(RefusedError) as refused:
        bind(kernel, [A, B], None, force=False)
    assert len(str(refused.value).splitlines()) == 2


def test_the_rest_of_an_iommu_group_is_named(tmp_path: Path) -> None:
    kernel = two_ports(tmp_path)
    kernel.add_device("0000:01:00.1", interface="eth2", group="7")
    kernel.add_device("0000:00:01.0", driver="pcieport", interface="", group="7", class_code="0x060400")
    with pytest.raises(RefusedError, match=r"IOMMU group 7 also holds 0000:01:00.1 \(eth2\), which ixgbe drives"):
        bind(kernel, [A], None, force=False)
    bind(kernel, [A, "eth2"], None, force=False)
    assert kernel.state("0000:01:00.1")[0] == "vfio-pci"
    unbind(kernel, ["eth0"])
    (binding,) = bind(kernel, [A], None, force=False)
    assert binding.notes == (f"{A} (eth0): IOMMU group 7 also holds 0000:01:00.1",)


@pytest.mark.parametrize("file", ["/dev/vfio/7", f"/run/ixyfwd/{A}.lock", f"/sys/devices/pci0000:00/{A}/resource0"])
def test_a_device_that_a_process_has_open_stays_where_it_is_even_by_force(kernel: FakeKernel, file: str) -> None:
    bind(kernel, [A], None, force=False)
    kernel.put("/proc/4711/comm", "ixyfwd")
    kernel.at("/proc/4711/fd").mkdir()
    kernel.at("/proc/4711/fd/9").symlink_to(file)
    before = kernel.state()
    for act in (lambda: unbind(kernel, [A]), lambda: bind(kernel, [A], "none", force=True)):
        with pytest.raises(RefusedError, match=rf"pid 4711 \(ixyfwd, {file}\) has it open; stop that process first"):
            act()
        assert kernel.state() == before


def test_only_root_may(kernel: FakeKernel) -> None:
    kernel.privileged = False
    for act in (lambda: bind(kernel, [A], None, force=False), lambda: unbind(kernel, [A]), lambda: restore(kernel)):
        with pytest.raises(IxyfwdError, match="only root"):
            act()


def test_two_at_once(kernel: FakeKernel) -> None:
    with Journal(kernel):
        with pytest.raises(RefusedError, match=rf"another ixyfwd is changing drivers .*pid {os.getpid()}"):
            bind(kernel, [A], None, force=False)
        with pytest.raises(RefusedError, match="another ixyfwd"):
            unbind_all(kernel)
    assert stat.S_IMODE(kernel.at(LOCK).stat().st_mode) == 0o600
    fd = os.open(kernel.at(LOCK), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was let go
    os.close(fd)


# failures in the middle


@pytest.mark.parametrize(
    "path", [f"{BUS}/devices/{B}/driver_override", f"{BUS}/drivers/ixgbe/unbind", f"{BUS}/drivers_probe"]
)
def test_a_failing_step_undoes_all_devices(kernel: FakeKernel, path: str) -> None:
    kernel.refuse[path] = "Invalid argument"
    with pytest.raises(IxyfwdError, match=r"Invalid argument"):
        bind(kernel, [A, B], None, force=False)
    kernel.refuse.clear()
    unbind_all(kernel)
    assert (kernel.state(A), kernel.state(B), load(kernel)) == (("ixgbe", ""), ("ixgbe", ""), {})


def test_what_could_not_be_undone_is_told_and_stays_in_the_journal(kernel: FakeKernel) -> None:
    kernel.refuse[f"{BUS}/drivers_probe"] = "Input/output error"
    with pytest.raises(IxyfwdError, match=rf"{A} \(eth0\): not put back: .*`ixyfwd unbind --restore` tries again"):
        bind(kernel, [A], None, force=False)
    assert kernel.state() == ("", "") and needs_replay(kernel)
    kernel.refuse.clear()
    assert [one.driver for one in restore(kernel)] == ["ixgbe"]
    assert not needs_replay(kernel)


def test_a_target_that_does_not_take_it(kernel: FakeKernel) -> None:
    kernel.add_device("0000:03:00.0", interface="eth2", group="9")
    kernel.at(f"{BUS}/drivers/vfio-pci/unbind").unlink()
    original = kernel._attach
    kernel._attach = lambda address, driver: None if driver == "vfio-pci" else original(address, driver)  # type: ignore[method-assign]
    with pytest.raises(IxyfwdError, match=r"found no driver after the change, expected vfio-pci.*\nthe drivers are as"):
        bind(kernel, ["eth2"], None, force=False)
    assert kernel.state("0000:03:00.0") == ("ixgbe", "")


def test_a_full_disk_touches_nothing(kernel: FakeKernel) -> None:
    kernel.full = True
    with pytest.raises(IxyfwdError, match=r"journal .*cannot be written \(No space left on device\)"):
        bind(kernel, [A], None, force=False)
    assert kernel.log == [f"journal {FILE}"] and kernel.state() == ("ixgbe", "")


def test_a_disk_that_is_full_at_the_end_undoes_it(kernel: FakeKernel) -> None:
    replace = kernel.replace

    def second_fails(path: str, data: bytes) -> None:
        kernel.full = b'"bound"' in data
        replace(path, data)

    kernel.replace = second_fails  # type: ignore[method-assign]
    with pytest.raises(IxyfwdError, match="No space left"):
        bind(kernel, [A], None, force=False)
    assert kernel.state() == ("ixgbe", "")
    assert load(kernel) == {}


def test_a_folder_that_cannot_be_made_touches_nothing(kernel: FakeKernel) -> None:
    kernel.at("/var/lib").rmdir()
    kernel.put("/var/lib", "a file")
    with pytest.raises(IxyfwdError, match=r"(folder /var/lib/ixyfwd cannot be used|journal .*cannot be read)"):
        bind(kernel, [A], None, force=False)
    assert kernel.log == []


DAMAGED = [
    "",
    "garbage",
    "[]",
    "{}",
    '{"version": 2, "devices": []}',
    '{"version": 1, "devices": [{}]}',
    '{"version": 1, "devices": 7}',
    '{"version": 1, "devices": [7]}',
    '{"version": 1, "dev',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_journal_touches_nothing(kernel: FakeKernel, text: str) -> None:
    kernel.put(FILE, text)
    for act in (lambda: bind(kernel, [A], None, force=True), lambda: unbind(kernel, [A]), lambda: restore(kernel)):
        with pytest.raises(IxyfwdError, match=rf"{FILE} is damaged \(.+\); nothing was changed"):
            act()
    assert kernel.log == [] and kernel.at(FILE).read_text() == f"{text}\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [("driver", "../../x"), ("module", "-r"), ("address", "../x"), ("state", "odd"), ("boot_id", 3), ("driver", "a/b")],
)
def test_a_journal_that_would_write_elsewhere_is_damaged(kernel: FakeKernel, key: str, value: object) -> None:
    bind(kernel, [A], None, force=False)
    data = journal(kernel)
    data["devices"][0][key] = value
    kernel.put(FILE, json.dumps(data))
    with pytest.raises(IxyfwdError, match=f"is damaged \\({key} is"):
        unbind_all(kernel)


# crashes


def steps_of_a_bind(root: Path) -> int:
    kernel = two_ports(root)
    bind(kernel, [A, B], None, force=False)
    return len(kernel.log)


def test_killed_between_any_two_steps_of_bind(tmp_path: Path) -> None:
    total = steps_of_a_bind(tmp_path / "whole")
    assert total == 8
    for fuse in range(total):
        kernel = two_ports(tmp_path / f"bind{fuse}")
        kernel.fuse = fuse
        with pytest.raises(Killed):
            bind(kernel, [A, B], None, force=False)
        kernel.fuse = None
        restore(kernel)
        assert (kernel.state(A), kernel.state(B)) == (("ixgbe", ""), ("ixgbe", "")), fuse
        assert load(kernel) == {} and kernel.exists("/sys/class/net/eth0") and kernel.exists("/sys/class/net/eth1")


def test_killed_between_any_two_steps_of_unbind(tmp_path: Path) -> None:
    for fuse in range(12):
        kernel = two_ports(tmp_path / f"unbind{fuse}")
        bind(kernel, [A, B], None, force=False)
        kernel.fuse = fuse
        try:
            unbind_all(kernel)
            break
        except Killed:
            kernel.fuse = None
        restore(kernel)
        for address in (A, B):  # given back, or still bound as it was and known to be
            bound = address in load(kernel)
            assert kernel.state(address) == (("vfio-pci", "vfio-pci") if bound else ("ixgbe", "")), (fuse, address)
        unbind_all(kernel)
        assert (kernel.state(A), kernel.state(B), load(kernel)) == (("ixgbe", ""), ("ixgbe", ""), {})
    else:
        pytest.fail("unbind has more steps than were tried")


@settings(max_examples=60, deadline=None)
@given(fuses=st.lists(st.integers(0, 12), max_size=6), verbs=st.lists(st.sampled_from("bur"), min_size=6, max_size=6))
def test_killed_again_and_again(tmp_path_factory: pytest.TempPathFactory, fuses: list[int], verbs: list[str]) -> None:
    """Whatever was killed when, also the repair: one whole `unbind --all` puts everything back."""
    kernel = two_ports(tmp_path_factory.mktemp("again"))
    for fuse, verb in zip(fuses, verbs, strict=False):
        kernel.fuse = fuse
        try:
            if verb == "b":
                bind(kernel, [A, B], None, force=False)
            elif verb == "u":
                unbind_all(kernel)
            else:
                restore(kernel)
        except Killed:
            pass
        kernel.fuse = None
    unbind_all(kernel)
    assert (kernel.state(A), kernel.state(B), load(kernel)) == (("ixgbe", ""), ("ixgbe", ""), {})


@pytest.mark.parametrize("target", ["vfio-pci", "none"])
def test_bound_again_after_a_kill_is_bound(kernel: FakeKernel, target: str) -> None:
    kernel.fuse = 4 if target == "vfio-pci" else 3  # only the journal's last word is missing
    with pytest.raises(Killed):
        bind(kernel, [A], target, force=False)
    kernel.fuse = None
    there = kernel.state()
    assert needs_replay(kernel)
    bind(kernel, [A], target, force=False)
    assert not needs_replay(kernel) and kernel.state() == there
    assert unbind_all(kernel)[0].driver == "ixgbe"


def test_restore_keeps_what_is_bound(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    assert restore(kernel) == []
    assert kernel.state()[0] == "vfio-pci" and A in load(kernel)


def test_a_half_written_new_journal_is_no_harm(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    kernel.put(f"{FILE}.new", '{"version": 1, "dev')
    assert unbind_all(kernel)[0].driver == "ixgbe"


def test_after_a_reboot_the_entry_is_dropped(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    kernel.write(f"{BUS}/devices/{A}/driver_override", "")
    kernel.write(f"{BUS}/drivers/vfio-pci/unbind", A)
    kernel.write(f"{BUS}/drivers_probe", A)
    kernel.put("/proc/sys/kernel/random/boot_id", "another boot")
    kernel.log.clear()
    assert needs_replay(kernel)
    (one,) = restore(kernel)
    assert one.notes == (f"{A}: the machine was booted since and the kernel chose ixgbe again",)
    assert kernel.log == [f"journal {FILE}"] and load(kernel) == {}


def test_a_device_that_is_gone_or_another_is_dropped(kernel: FakeKernel) -> None:
    bind(kernel, [A, B], None, force=False)
    kernel.at(f"{BUS}/devices/{A}").unlink()
    kernel.put(f"{BUS}/devices/{B}/device", "0x1572")
    notes = [note for one in restore(kernel) for note in one.notes]
    assert notes == [
        f"{A}: the device is gone; its entry in {FILE} is dropped",
        f"{B}: another device (8086:1572) is there now; the entry of 8086:10fb is dropped",
    ]
    with pytest.raises(UsageError, match=r"no PCI device at .*`ixyfwd unbind --all`"):
        unbind(kernel, [A])


def test_what_somebody_gave_back_by_hand_is_dropped(kernel: FakeKernel) -> None:
    bind(kernel, [A], None, force=False)
    kernel.write(f"{BUS}/devices/{A}/driver_override", "")
    kernel.write(f"{BUS}/drivers/vfio-pci/unbind", A)
    kernel.write(f"{BUS}/drivers_probe", A)
    assert restore(kernel)[0].notes == (f"{A}: another program has given it back to ixgbe already",)
    assert load(kernel) == {}
