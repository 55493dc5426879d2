"""`ixyfwd devices`, `bind` and `unbind` on QEMU's own NICs and on model ports, under a real kernel."""

import json
import random
import re
import shlex
from typing import Any

from tests.vm import inside
from tests.vm.guest import CheckError, Done, Hardware
from tests.vm.lab import Check, Lab

JOURNAL = "/host/var/lib/ixyfwd/bindings.json"
IDS = {"82599": "8086:10fb", "e1000e": "8086:10d3", "igb": "8086:10c9", "virtio": "1af4:1041"}
MOST_KILLS = 8
KILLS_IN_THE_MIDDLE = 2
# The host's tree has no modules of the guest's kernel: modprobe goes back to the root of the guest's first process.
_MODPROBE = '#!/bin/sh\nexec chroot /proc/1/root /usr/sbin/modprobe "$@"\n'
_PATH = "PATH=/tmp/bin:$PATH"


def devices(lab: Lab) -> str:
    """The listing agrees with what the shell reads from sysfs."""
    for module in ("ixgbe", "e1000e", "igb", "virtio_net", "bridge", "8021q"):
        lab.must(f"modprobe {module}", 60)
    _prepare(lab)
    lab.until("five interfaces", "[ $(ls -d /sys/class/net/*/device | wc -l) = 5 ]")
    found = _json(lab, "devices", "--all")["devices"]
    for device in found:
        at = f"/sys/bus/pci/devices/{device['address']}"
        driver, group, node, names = lab.must(
            f"basename $(readlink {at}/driver); basename $(readlink {at}/iommu_group); cat {at}/numa_node; "
            f"ls -d {at}/net/* {at}/virtio*/net/* 2>/dev/null | xargs -n 1 basename"
        ).split()
        mac = lab.must(f"cat /sys/class/net/{names}/address").strip()
        shown = (device["driver"], device["iommu_group"], str(device["numa_node"]), device["interfaces"][0]["name"])
        if shown != (driver, group, node, names) or device["interfaces"][0]["mac"] != mac:
            raise CheckError(f"{device} is not {driver}, {group}, {node}, {names}, {mac}")
    kinds = sorted(device["id"] for device in found)
    if kinds != sorted([IDS["82599"], *IDS.values()]):
        raise CheckError(f"found {kinds}")
    known = _json(lab, "devices")
    if [device["id"] for device in known["devices"]] != [IDS["82599"]] * 2 or known["others"] != 3:
        raise CheckError(f"without --all: {known}")
    return ", ".join(f"{device['driver']} {device['interfaces'][0]['name']}" for device in found)


def refusals(lab: Lab) -> str:
    """Every use of an interface that a real kernel makes visible; nothing is touched."""
    used, slot = _interface(lab, "e1000e"), _slot(lab, "e1000e")
    lab.must(f"ip addr add 10.7.0.1/24 dev {used}; ip link set {used} up; ip link add br7 type bridge")
    for family, to in ((4, "default"), (6, "default"), (4, "10.8.0.0/16"), (6, "2001:db8::/32")):
        lab.must(f"ip -{family} route add {to} dev {used}")
    lab.must(f"ip link add link {used} name v7 type vlan id 7; ip link set {used} master br7")
    said = _refused(
        lab,
        used,
        f"{slot} ({used}): ",
        "carries the ssh session that you type this into (10.7.0.1)",
        "has the IPv4 default route",
        "has the IPv6 default route",
        "has the address 10.7.0.1/24",
        "has a route to 10.8.0.0/16",
        "has a route to 2001:db8::/32",
        "is part of the bridge br7",
        "the VLAN v7 is on top of",
    )
    lab.must(f"ip link del v7; ip link del br7; ip addr flush dev {used}; ip link set {used} down")
    lab.must(f"ip netns add n7; ip link set {used} netns n7")
    said += _refused(lab, slot, "another network namespace")
    lab.must(f"ip -n n7 link set {used} netns 1; ip netns del n7")
    lab.until("the interface", f"[ -e /sys/class/net/{used} ]")
    lab.must(f"[ ! -e {shlex.quote(JOURNAL)} ]")
    return f"{said} reasons, each named; exit code 3"


def _refused(lab: Lab, name: str, *wanted: str) -> int:
    """Neither alone nor with a device that is free, which must not be touched either; the number of reasons."""
    before = _drivers(lab)
    session = "SSH_CONNECTION='10.7.0.9 4000 10.7.0.1 22'"
    done = _run(lab, "bind", _interface(lab, "igb"), name, setting=session)
    missing = [text for text in wanted if text not in done.output]
    if done.status != 3 or missing or "--force" not in done.output:
        raise CheckError(f"expected a refusal with {missing}, got {done.status}: {done.output}")
    if _drivers(lab) != before:
        raise CheckError(f"a refusal moved something: {before}, then {_drivers(lab)}")
    return len(done.output.strip().splitlines())


def dry_run(lab: Lab) -> str:
    """Every write is told, none done; then they are done as told."""
    before = _drivers(lab)
    name = _interface(lab, "igb")
    shown = _json(lab, "bind", name, "--dry-run")["devices"][0]["steps"]
    if _drivers(lab) != before or len([step for step in shown if "write" in step]) != 3:
        raise CheckError(f"{shown}; {before}, then {_drivers(lab)}")
    return "; ".join(step.get("write") or f"modprobe {step['modprobe']}" for step in shown)


def there_and_back(lab: Lab) -> str:
    """Each device to vfio-pci (which is loaded for it) and to no driver, and back."""
    ports = _json(lab, "devices", "--all")["devices"]
    for target in ("vfio-pci", "none"):
        slots = [device["address"] for device in ports]
        lab.must(f"ip addr add 10.7.0.1/24 dev {_interface(lab, 'virtio')}")
        bound = _json(lab, "bind", *slots, "--driver", target, "--force")["devices"]
        notes = [note for device in bound for note in device["notes"]]
        if len(notes) != 1 or "by force although" not in notes[0]:
            raise CheckError(f"notes of the forced bind: {notes}")
        wanted = "" if target == "none" else target
        if set(_drivers(lab).values()) != {f"{wanted} {target}".strip()}:
            raise CheckError(f"bound to {target}: {_drivers(lab)}")
        if lab.must(f"stat -c %a {JOURNAL}").strip() != "600" or len(_journal(lab)) != len(slots):
            raise CheckError(f"the journal: {_journal(lab)}")
        returned = _json(lab, "unbind", "--all")["devices"]
        _all_home(lab, ports)
        if not any("ip addr add 10.7.0.1/24" in note for device in returned for note in device["notes"]):
            raise CheckError(f"the lost address was not told: {returned}")
    return f"{len(ports)} devices to vfio-pci and to none, all back, each with its interface"


def in_use(lab: Lab) -> str:
    """A device that a process has open stays where it is: the kernel would wait for that process for ever."""
    slot, name = _slot(lab, "igb"), _interface(lab, "igb")
    group = _json(lab, "bind", name)["devices"][0]
    number = lab.must(f"basename $(readlink /sys/bus/pci/devices/{slot}/iommu_group)").strip()
    lab.must(f"sleep 300 3<>/dev/vfio/{number} >/dev/null 2>&1 & echo $! >/tmp/holder")
    said = _run(lab, "unbind", name)
    if said.status != 3 or "(sleep, /dev/vfio/" not in said.output:
        raise CheckError(f"{said}")
    lab.must("kill $(cat /tmp/holder)")
    lab.until("the end of the holder", "! [ -e /proc/$(cat /tmp/holder)/fd/3 ]")
    back = _json(lab, "unbind", name)["devices"][0]
    if back["driver"] != "igb" or group["from"] != "igb":
        raise CheckError(f"{back}")
    return said.output.strip()


def killed(lab: Lab) -> str:
    """SIGKILL somewhere between the first write of the journal and the end, again and again; then restored."""
    ports = _json(lab, "devices", "--all")["devices"]
    slots = [_slot(lab, kind) for kind in ("e1000e", "igb", "virtio")]
    home = list(_drivers(lab).values())
    chance = random.Random(7)
    states: list[str] = []
    for number in range(MOST_KILLS):
        run = inside.command("bind", *slots, "--driver", "vfio-pci" if number % 2 else "none")
        # The unbind of three devices takes some tenths of a second here; most kills fall into it.
        script = (
            f"{_PATH} {run} >/tmp/said 2>&1 & pid=$!; "
            f"until grep -q binding {JOURNAL} 2>/dev/null; do kill -0 $pid || break; sleep 0.02; done; "
            f"sleep {chance.uniform(0, 0.3):.3f}; kill -9 $pid; wait $pid; exit 0"
        )
        lab.must(script, 60)
        moved = sum(now != then for now, then in zip(_drivers(lab).values(), home, strict=True))
        half = any(entry["state"] == "binding" for entry in _journal(lab))
        _json(lab, "unbind", "--restore" if half else "--all")
        _all_home(lab, ports)
        if half:
            states.append(f"{moved} of {len(slots)}")
        if len(states) == KILLS_IN_THE_MIDDLE:
            break
    if not states:
        raise CheckError(f"none of {MOST_KILLS} kills fell into the middle of a bind")
    return f"killed with {', '.join(states)} devices touched, each time restored; {_traffic(lab)}"


def booted(lab: Lab) -> str:
    """An entry of another boot is dropped, a damaged journal is told and nothing is touched."""
    slot, name = _slot(lab, "e1000e"), _interface(lab, "e1000e")
    _json(lab, "bind", name)
    lab.must(f'sed -i \'s/"boot_id": ".*"/"boot_id": "of another boot"/\' {JOURNAL}')
    lab.must(
        f"cd /sys/bus/pci; echo >devices/{slot}/driver_override; echo {slot} >drivers/vfio-pci/unbind; "
        f"echo {slot} >drivers_probe"
    )
    (dropped,) = _json(lab, "unbind", "--restore")["devices"]
    if "booted since" not in dropped["notes"][0] or _journal(lab):
        raise CheckError(f"{dropped}, {_journal(lab)}")
    lab.must(f"echo '{{' >{JOURNAL}")
    before = _drivers(lab)
    done = _run(lab, "bind", slot)
    if done.status != 1 or "is damaged" not in done.output or _drivers(lab) != before:
        raise CheckError(f"{done}")
    lab.must(f"rm {JOURNAL}")
    return done.output.strip()


def no_faults(lab: Lab) -> str:
    """The model recorded nothing against Linux or us, and the kernel has nothing to complain of."""
    faults = lab.model.faults()
    bad = re.findall(r".*(?:BUG:|\bOops\b|Call Trace|DMAR.*fault).*", lab.must("dmesg"))
    if faults or bad:
        raise CheckError(f"{json.dumps(faults)[:500]} {bad[:5]}")
    return "none recorded"


def _prepare(lab: Lab) -> None:
    """A /var/lib that can be written, and a modprobe."""
    inside.mount(lab)
    lab.must("mount -t tmpfs -o mode=755 tmpfs /host/var/lib; mkdir /tmp/bin")
    lab.must(f"chmod +x {inside.write(lab, '/tmp/bin/modprobe', _MODPROBE)}")


def _run(lab: Lab, *arguments: str, setting: str = "") -> Done:
    """`ixyfwd ARGUMENTS` to its end, both streams; a traceback fails the step."""
    done = lab.guest.run(f"{_PATH} {setting} {inside.command(*arguments)}", inside.START_TIMEOUT_S)
    if "Traceback" in done.output:
        raise CheckError(f"{arguments} said: {done.output[-800:]}")
    return done


def _json(lab: Lab, *arguments: str) -> Any:
    """The object that `ixyfwd ARGUMENTS --json` prints; it must end well."""
    done = _run(lab, *arguments, "--json")
    if done.status:
        raise CheckError(f"{arguments} ended with {done.status}: {done.output[-800:]}")
    return json.loads(done.output.strip().splitlines()[-1])


def _traffic(lab: Lab) -> str:
    """e1000e and igb on QEMU's hub, and the two model ports across their cable, reach each other."""
    model = [device["interfaces"][0]["name"] for device in _json(lab, "devices")["devices"]]
    pairs = ((_interface(lab, "e1000e"), _interface(lab, "igb")), (model[0], model[1]))
    for here, there in pairs:
        lab.must(f"ip netns add t; ip link set {there} netns t; ip -n t addr add 10.6.0.2/24 dev {there}")
        lab.must(f"ip -n t link set {there} up; ip addr add 10.6.0.1/24 dev {here}; ip link set {here} up")
        lab.until(f"an answer from {there} to {here}", "ping -q -c 1 -W 1 10.6.0.2", 60)
        lab.must("ping -q -c 10 -i 0.05 10.6.0.2 | grep ' 0% packet loss'")
        lab.must(f"ip -n t link set {there} netns 1; ip netns del t; ip addr flush dev {here}; ip link set {here} down")
        lab.until("the interface", f"[ -e /sys/class/net/{there} ]")
    return f"pings pass {' and '.join(' - '.join(pair) for pair in pairs)}"


def _all_home(lab: Lab, ports: list[dict[str, Any]]) -> None:
    """Drivers, overrides and interfaces are as in `ports`; the journal is empty."""
    wanted = {port["address"]: port["driver"] for port in ports}
    names = sorted(port["interfaces"][0]["mac"] for port in ports)
    if _drivers(lab) != wanted or _journal(lab):
        raise CheckError(f"{_drivers(lab)}, expected {wanted}; journal {_journal(lab)}")
    macs = sorted(lab.must("cat $(ls -d /sys/class/net/*/device | sed s/device/address/)").split())
    if macs != names:
        raise CheckError(f"interfaces with {macs}, expected {names}")


def _drivers(lab: Lab) -> dict[str, str]:
    """Driver and override of every network function, read by the shell."""
    text = lab.must(
        "cd /sys/bus/pci/devices; for d in *; do case $(cat $d/class) in 0x02*) "
        'echo "$d $(basename "$(readlink $d/driver)") $(cat $d/driver_override | grep -v null)";; esac; done'
    )
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines()}


def _journal(lab: Lab) -> list[dict[str, Any]]:
    text = lab.must(f"cat {JOURNAL} 2>/dev/null || true")
    entries: list[dict[str, Any]] = json.loads(text)["devices"] if text else []
    return entries


def _slot(lab: Lab, kind: str) -> str:
    vendor, device = IDS[kind].split(":")
    return lab.must(f"lspci -D -n -d {vendor}:{device} | head -1").split()[0]


def _interface(lab: Lab, kind: str) -> str:
    at = f"/sys/bus/pci/devices/{_slot(lab, kind)}"
    return lab.must(f"ls {at}/net {at}/virtio*/net 2>/dev/null | grep -v :").split()[0]


# All three on one hub; each behind a root port, so that each has an IOMMU group of its own.
_OWN = ("e1000e", "igb", "virtio-net-pci")
_HARDWARE = Hardware(
    iommu=True,
    devices=tuple(
        option
        for number, name in enumerate(_OWN, 11)
        for option in (
            f"pcie-root-port,id=own{number},chassis={number},slot={number}",
            f"{name},bus=own{number},netdev=hub{number},mac=52:54:00:00:00:{number}",
        )
    ),
    netdevs=tuple(f"hubport,id=hub{number},hubid=1" for number, _ in enumerate(_OWN, 11)),
)
BIND_CHECKS = (
    Check(
        "guest-bind",
        "ixyfwd devices, bind and unbind on e1000e, igb, virtio-net and two model ports",
        (
            ("devices", devices),
            ("refusals", refusals),
            ("dry-run", dry_run),
            ("there-and-back", there_and_back),
            ("in-use", in_use),
            ("killed", killed),
            ("booted", booted),
            ("faults", no_faults),
        ),
        hardware=_HARDWARE,
    ),
)
