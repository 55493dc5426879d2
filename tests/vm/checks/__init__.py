"""The checks by name, in the order in which `scripts/vm check` runs them."""

from tests.vm.checks.guest_bind import BIND_CHECKS
from tests.vm.checks.guest_doctor import DOCTOR_CHECKS
from tests.vm.checks.hardware import HARDWARE_CHECKS
from tests.vm.checks.linux_ixgbe import LINUX_CHECKS
from tests.vm.checks.testpmd import TESTPMD_CHECKS
from tests.vm.lab import Check

CHECKS: dict[str, Check] = {
    check.name: check for check in (*LINUX_CHECKS, *TESTPMD_CHECKS, *BIND_CHECKS, *DOCTOR_CHECKS, *HARDWARE_CHECKS)
}
