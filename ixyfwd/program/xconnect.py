"""Cross-connect: what comes in at one port of a link goes out at the other, untouched."""

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine, EngineMemory


class Xconnect:
    """See `program.contract.Program`."""

    name = "xconnect"
    touched_byte = None

    def bind(self, engine: Engine, memory: EngineMemory, batch: Batch) -> None:
        """Nothing to do."""
