"""The toy as a family: ports at addresses of its own scheme."""

from typing import Final

from ixyfwd.nic.toy.limits import LIMITS
from ixyfwd.nic.toy.port import ToyPort

from ixyfwd.nic.contract import Family, Scheme

FAMILY: Final = Family("toy", LIMITS, scheme=Scheme("toy:", ToyPort))
