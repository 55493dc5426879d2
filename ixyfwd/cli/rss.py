"""`ixyfwd rss`: which queue, and so which worker, a flow will meet."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ixyfwd.cli.output import Lines
from ixyfwd.cli.render import Column, Grid, make_grid
from ixyfwd.cli.start import ready_config
from ixyfwd.config.machine import this_machine
from ixyfwd.config.placement import place
from ixyfwd.driver.flow import Flow, parse_flow
from ixyfwd.driver.rss import MAX_QUEUES, RssOptions, flows_per_queue, imbalance, predict
from ixyfwd.errors import UsageError


def rss_command(texts: Sequence[str], queues: int | None, path: Path | None, json: bool) -> None:
    """Predict for every flow and its answers; then how evenly the flows spread."""
    options = _options(queues, path)
    flows = [parse_flow(text) for text in texts]
    rows = [_prediction(flow, options) for flow in flows]
    counts = flows_per_queue(flows, options)
    out = Lines(sys.stdout)
    if json:
        out.write_json(
            {
                "queues": options.queues,
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


def _options(queues: int | None, path: Path | None) -> RssOptions:
    if queues is not None and not 1 <= queues <= MAX_QUEUES:
        raise UsageError(f"--queues: found {queues}, expected 1 to {MAX_QUEUES}")
    machine = this_machine()
    config = ready_config(path, machine)
    count = queues if queues is not None else len(place(config, machine.allowed).workers)
    return RssOptions(queues=count, key=config.rss.key, fields=config.rss.fields)


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
