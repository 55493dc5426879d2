"""Plots as SVG in the style of the field. matplotlib draws them; it is an extra: `pip install 'ixyfwd[bench]'`."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ixyfwd.bench.result import device_of
from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.outfile import write_file

NINES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def check_plots() -> None:
    """Check that plots can be drawn, before the measurement. Raises IxyfwdError without matplotlib."""
    _axes()


def batch_plot(found: Mapping[str, Any], path: Path) -> None:
    """Mpps over batch size on a log2 axis, a line per kind of row. Raises IxyfwdError without matplotlib."""
    figure, axes = _axes()
    lines: dict[str, list[tuple[int, float, float, float]]] = {}
    for row in found["rows"]:
        name = f"{row['engine']} ({row['loop']}), {row['program']}, {row['frame_bytes']} B, ring {row['ring']}"
        name += f", {row['core_distance']}" if row.get("core_distance") else ""
        name += f", {row['cache']}" if "cache" in row else ""
        mpps = row["mpps"]
        lines.setdefault(name, []).append((row["batch"], mpps["median"], mpps["min"], mpps["max"]))
    for name, points in lines.items():
        batches, middles, lows, highs = zip(*sorted(points), strict=True)
        below = [middle - low for middle, low in zip(middles, lows, strict=True)]
        above = [high - middle for middle, high in zip(middles, highs, strict=True)]
        axes.errorbar(batches, middles, yerr=(below, above), marker="o", capsize=2, label=name)
    ticks = sorted({row["batch"] for row in found["rows"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("batch size")
    axes.set_ylabel(f"Mpps ({_devices(found)})")
    axes.set_ylim(bottom=0)
    _save(figure, axes, path)


def latency_plot(lines: Mapping[str, Sequence[tuple[float, float]]], device: str, path: Path) -> None:
    """Latency in us over percentile, on two log axes, with a line per name: (share, us) points.

    Raises IxyfwdError without matplotlib.
    """
    figure, axes = _axes()
    for name, points in lines.items():
        shares = [1 / (1 - share) for share, _ in points if share < 1]
        axes.plot(shares, [us for share, us in points if share < 1], marker=".", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 / (1 - nine) for nine in NINES], [f"{100 * nine:g} %" for nine in NINES])
    axes.minorticks_off()
    axes.set_xlabel("percentile")
    axes.set_ylabel(f"latency in us ({device})")
    _save(figure, axes, path)


def _axes() -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise IxyfwdError("plots need matplotlib: pip install 'ixyfwd[bench]'") from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    try:
        write_file(path, drawn.getvalue())
    except OSError as error:
        raise IxyfwdError(f"{path}: the plot cannot be written: {error.strerror}") from None


def _devices(found: Mapping[str, Any]) -> str:
    return ", ".join(sorted({device_of(row) for row in found["rows"]}))
