"""What can be typed after `ixyfwd generate` and `ixyfwd capture`."""

from pathlib import Path
from typing import Annotated

import typer

PortArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PORT]", help="sim:NAME, vfio-user:/SOCKET or a PCI address; or use -c and --port.", show_default=False
    ),
]
ConfigOption = Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration (TOML).")]
NameOption = Annotated[str | None, typer.Option("--port", metavar="NAME", help="A port of the configuration.")]
WireOption = Annotated[
    str | None, typer.Option("--wire", metavar="WIRE", help="Far end of a sim: port, as for `ixyfwd model`.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", metavar="ENGINE", help="native or vector.")]
CountOption = Annotated[int | None, typer.Option("--count", metavar="N", help="Stop after so many frames.")]
DurationOption = Annotated[float | None, typer.Option("--duration", metavar="S", help="Stop after so many seconds.")]
InstanceOption = Annotated[
    str | None, typer.Option("--instance", metavar="NAME", help="Name for `ixyfwd stop`; default: COMMAND-PID.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on the last line of the output.")]
MacOption = Annotated[str | None, typer.Option(metavar="MAC")]
AddressOption = Annotated[
    str | None, typer.Option(metavar="IP[:PORT]", help="Of all flows; flow f uses PORT + f.", show_default=False)
]


def generate_command(  # noqa: PLR0917 - one parameter per option is typer's way
    device: PortArgument = None,
    config: ConfigOption = None,
    port: NameOption = None,
    wire: WireOption = None,
    frame: Annotated[
        str, typer.Option("--frame", metavar="SIZES", help="Bytes incl. CRC: 64, a list such as 64,1518, or imix.")
    ] = "64",
    rate: Annotated[
        str, typer.Option("--rate", metavar="RATE", help="line, max, frames per second, or a share such as 10%.")
    ] = "line",
    flows: Annotated[int, typer.Option("--flows", metavar="N", help="Flows, in turn.")] = 64,
    count: CountOption = None,
    duration: DurationOption = None,
    src: AddressOption = None,
    dst: AddressOption = None,
    src_mac: MacOption = None,
    dst_mac: MacOption = None,
    engine: EngineOption = None,
    instance: InstanceOption = None,
    json: JsonOption = False,
) -> int:
    """Send numbered, time-stamped UDP frames out of one port."""
    from ixyfwd.cli.traffic import GenerateOptions, generate_command  # noqa: PLC0415
    from ixyfwd.config.single import PortChoice, own_instance  # noqa: PLC0415

    choice = PortChoice(device, config, port, wire, engine, instance or own_instance("generate"))
    ends = ((src_mac, src), (dst_mac, dst))
    return generate_command(choice, GenerateOptions(frame, rate, flows, count, ends), duration, json)


def capture_command(  # noqa: PLR0917 - one parameter per option is typer's way
    device: PortArgument = None,
    config: ConfigOption = None,
    port: NameOption = None,
    wire: WireOption = None,
    write: Annotated[
        str | None,
        typer.Option("-w", "--write", metavar="FILE", help="pcap (ns), pcapng by that ending, - = standard output."),
    ] = None,
    expression: Annotated[
        str | None, typer.Option("--filter", metavar="EXPR", help='As for tcpdump: "udp port 53".')
    ] = None,
    snaplen: Annotated[int, typer.Option("--snaplen", metavar="N", help="Bytes kept of a frame.")] = 262144,
    count: CountOption = None,
    duration: DurationOption = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line per frame, by tcpdump.")] = False,
    engine: EngineOption = None,
    instance: InstanceOption = None,
    json: JsonOption = False,
) -> int:
    """Record the frames that arrive at one port."""
    from ixyfwd.cli.traffic import CaptureOptions, capture_command  # noqa: PLC0415
    from ixyfwd.config.single import CAPTURE_RING, PortChoice, own_instance  # noqa: PLC0415

    choice = PortChoice(device, config, port, wire, engine, instance or own_instance("capture"), CAPTURE_RING)
    return capture_command(choice, CaptureOptions(write, expression, snaplen, count, verbose), duration, json)
