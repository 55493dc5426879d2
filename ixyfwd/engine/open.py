"""Opening an engine by its name."""

from ixyfwd.engine.contract import Engine, EngineMemory
from ixyfwd.errors import IxyfwdError, UsageError

ENGINES = ("native", "vector", "naive")


def open_engine(name: str, memory: EngineMemory) -> Engine:
    """Open the engine `name` on a worker's memory.

    Only that engine's module is imported: numpy would cost a native worker 20 MiB and
    90 ms, and `vector` is there for machines without a compiler. Raises UsageError for
    an unknown name, IxyfwdError if it cannot be opened.
    """
    if name == "native":
        try:
            from ixyfwd.engine.native import NativeEngine  # noqa: PLC0415

            return NativeEngine(memory)
        except ImportError as error:
            raise IxyfwdError(
                f"the native engine is not compiled ({error}): install the package with a C compiler at hand, "
                'or choose engine = "vector"'
            ) from None
    if name == "vector":
        from ixyfwd.engine.vector import VectorEngine  # noqa: PLC0415

        return VectorEngine(memory)
    if name == "naive":
        from ixyfwd.engine.naive import NaiveEngine  # noqa: PLC0415

        return NaiveEngine(memory)
    raise UsageError(f"there is no engine {name!r}; choose one of: {', '.join(ENGINES)}")
