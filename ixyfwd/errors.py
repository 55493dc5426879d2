"""Errors that reach a person: one clear sentence each, with an exit code (0 done, 1 failed, 2 wrong use, 3 refused for
safety)."""

from typing import ClassVar


class IxyfwdError(Exception):
    """Something failed. The message says what was found, where, what was expected and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(IxyfwdError):
    """The command line or the configuration is wrong; nothing was touched."""

    exit_code: ClassVar[int] = 2


class RefusedError(IxyfwdError):
    """Refused for safety: the device, the instance or the interface is in use."""

    exit_code: ClassVar[int] = 3


class DeviceError(IxyfwdError):
    """A device did not do what its datasheet says; the message names the device and the register."""


class DeviceTimeoutError(DeviceError):
    """A bounded wait on a register ran out; the message names what was waited for."""


class DeviceGoneError(DeviceError):
    """A register read all ones and so did STATUS: the device left the bus."""
