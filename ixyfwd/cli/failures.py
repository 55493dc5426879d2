"""The one place where an exception becomes a sentence and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import typer

from ixyfwd.cli.entry import INTERRUPTED
from ixyfwd.cli.output import Lines, complain
from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.outlet import OutputError, unwritable
from ixyfwd.settings.problems import ConfigErrors

FAILED: Final = 1

# What typer raises for wrong use: click's exception, or since typer 0.2x its own copy of it.
_TYPER_ERROR: Final = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def guarded(call: Callable[[], object], argv: Sequence[str]) -> int:
    """Run a command; returns its exit code. Any exception inside becomes a message and a code."""
    try:
        code = call()
    except (KeyboardInterrupt, typer.Abort):
        code = _report("interrupted", INTERRUPTED, argv, quiet=True)
    except SystemExit as end:
        code = end.code
    except OutputError as error:  # out of `print`
        code = 0
        if error.errno != errno.EPIPE:  # a reader that has gone (`| head`) has what it wants
            code = FAILED
            complain(unwritable(error))
    except IxyfwdError as error:
        code = _report(str(error), error.exit_code, argv, **_details(error))
    except Exception as error:
        code = _typer_error(error, argv) if isinstance(error, _TYPER_ERROR) else _unexpected(error, argv)
    return code if isinstance(code, int) else 0


def _details(error: IxyfwdError) -> dict[str, Any]:
    if isinstance(error, ConfigErrors):
        return {"problems": [problem.as_json() for problem in error.problems]}
    return {}


def _report(message: str, exit_code: int, argv: Sequence[str], *, quiet: bool = False, **details: Any) -> int:
    if not quiet:
        complain(message)
    if "--json" in argv:
        with suppress(IxyfwdError):  # the exit code tells, and perhaps standard error
            Lines(sys.stdout).write_json({"error": message, "exit_code": exit_code, **details})
    return exit_code


def _typer_error(error: Any, argv: Sequence[str]) -> int:
    """Wrong use: an unknown command or option, a missing or malformed value."""
    message = error.format_message()
    if not message or error.__class__.__name__ == "NoArgsIsHelpError":
        error.show()  # the help text itself
        return int(error.exit_code)
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return _report(" ".join(message.split()).rstrip(".") + hint, int(error.exit_code), argv)


def _unexpected(error: Exception, argv: Sequence[str]) -> int:
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        whose = "this process (`ulimit -n`)" if error.errno == errno.EMFILE else "the machine (fs.file-max)"
        return _report(f"no more files can be opened: {error.strerror}; raise the limit of {whose}", FAILED, argv)
    if os.environ.get("IXYFWD_DEBUG") == "1":
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    message = f"unexpected {what}; this is a bug in ixyfwd, please report it with what IXYFWD_DEBUG=1 shows"
    return _report(message, FAILED, argv)
