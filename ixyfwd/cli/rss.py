"""`ixyfwd rss`: which queue, and so which worker, a flow will meet."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ixyfwd.cli.output import Lines
from ixyfwd.cli.render import Column, Grid, make_grid
from ixyfwd.cli.start import check_instance_name, ready_config
from ixyfwd.config.machine import this_machine
from ixyfwd.config.placement import place
from ixyfwd.config.schema import SIM_VENDOR_ID, Config, PortConfig
from ixyfwd.errors import UsageError
from ixyfwd.host.devices import read_device
from ixyfwd.host.kernel import Kernel
from ixyfwd.kit.pciaddress import pci_address
from ixyfwd.nic.flow import Flow, parse_flow
from ixyfwd.nic.registry import chip_of
from ixyfwd.nic.rss import MAX_QUEUES, RETA_ENTRIES, RETA_SIZES, RssOptions, flows_per_queue, imbalance, predict


@dataclass(frozen=True)
class RssQuestion:
    """Whose RSS is meant: that of a running instance, or of a configuration, with what was said about it."""

    queues: int | None
    reta: int | None
    config: Path | None
    instance: str | None


def rss_command(texts: Sequence[str], question: RssQuestion, json: bool) -> None:
    """Predict for every flow and its answers; then how evenly the flows spread."""
    options = _options(question)
    flows = [parse_flow(text) for text in texts]
    rows = [_prediction(flow, options) for flow in flows]
    counts = flows_per_queue(flows, options)
    out = Lines(sys.stdout)
    if json:
        out.write_json(
            {
                "queues": options.queues,
                "reta_entries": len(options.reta or ()),
                "key": options.key,
                "fields": options.fields,
                "flows": rows,
                "flows_per_queue": counts,
                "imbalance": round(imbalance(counts), 4),
            }
        )
        return
    for row in rows:
        out.write(*_flow_grid(row).lines())
    shares = ", ".join(f"{queue}: {share}" for queue, share in enumerate(counts) if share)
    out.write(f"flows per queue {shares}; imbalance {imbalance(counts):.2f} (largest share over mean, 1 is even)")


def _options(question: RssQuestion) -> RssOptions:
    """The options, their table at the size that the device has."""
    queues, reta = question.queues, question.reta
    if queues is not None and not 1 <= queues <= MAX_QUEUES:
        raise UsageError(f"--queues: found {queues}, expected 1 to {MAX_QUEUES}")
    if reta is not None and reta not in RETA_SIZES:
        raise UsageError(f"--reta: found {reta}, expected {RETA_SIZES[0]}, or {RETA_SIZES[1]} (X550)")
    if question.instance is not None and question.config is not None:
        raise UsageError("--instance: found a --config too, expected one of the two")
    if question.instance is not None:
        options, sizes = _of_instance(question.instance, queues)
    else:
        options, sizes = _of_config(question.config, queues)
    return replace(options, reta=options.table(_one_size(sizes) if reta is None else reta))


def _one_size(sizes: Mapping[str, int]) -> int:
    """What the ports agree on. Raises UsageError if they do not."""
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UsageError(f"the ports' redirection tables differ in size ({found}); say with --reta which is meant")
    return next(iter(sizes.values()), RETA_ENTRIES)


def _of_instance(name: str, queues: int | None) -> tuple[RssOptions, dict[str, int]]:
    from ixyfwd.supervisor.client import request  # noqa: PLC0415

    check_instance_name(name)
    status = request(name, "status")
    rss = status["rss"]
    options = RssOptions(queues or len(status["workers"]), rss["key"], tuple(rss["fields"]))
    return options, {port["name"]: port["reta_entries"] for port in status["ports"]}


def _of_config(path: Path | None, queues: int | None) -> tuple[RssOptions, dict[str, int]]:
    machine = this_machine()
    config: Config = ready_config(path, machine)
    count = queues if queues is not None else len(place(config, machine.allowed).workers)
    options = RssOptions(queues=count, key=config.rss.key, fields=config.rss.fields)
    sizes = {port.name: _reta_entries(port) for port in config.ports}
    return options, {name: size for name, size in sizes.items() if size is not None}


def _reta_entries(port: PortConfig) -> int | None:
    """Of the port's chip; None if only its driver will know (an absent device, or one behind a socket)."""
    if port.simulated:
        chip = chip_of(SIM_VENDOR_ID, port.device_id) if port.device_id is not None else None
        return chip.reta_entries if chip is not None else RETA_ENTRIES
    address = pci_address(port.device)
    device = read_device(Kernel(), address) if address else None
    chip = chip_of(device.vendor, device.device) if device is not None else None
    return None if chip is None else chip.reta_entries


def _prediction(flow: Flow, options: RssOptions) -> dict[str, Any]:
    there, back = predict(flow, options), predict(flow.reversed(), options)
    return {
        "flow": str(flow),
        "hash": f"0x{there.hash:08x}",
        "field": there.field,
        "reta_index": there.index,
        "queue": there.queue,
        "reverse_queue": back.queue,
    }


def _flow_grid(row: dict[str, Any]) -> Grid:
    """The flow is the title: two IPv6 end points leave no room for anything beside them."""
    columns = [Column(name, 12) for name in ("queue", "answers", "hash", "hashed by", "RETA entry")]
    index = "-" if row["reta_index"] is None else str(row["reta_index"])
    cells = [str(row["queue"]), str(row["reverse_queue"]), row["hash"], row["field"] or "nothing", index]
    return make_grid(row["flow"], columns, [cells])
