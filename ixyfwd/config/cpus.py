"""CPU lists as the kernel writes them: `0-3,8,10-11`. The order is kept: it is the order of the workers."""

import re
from collections.abc import Iterable

MAX_CPU = 8191  # the kernel's largest NR_CPUS on x86-64

_PART = re.compile(r"\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5})\s*)?", re.ASCII)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPUs of a list, in its order, repetitions kept. Raises ValueError with what was found and expected."""
    cpus: list[int] = []
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f'found "{part.strip()}", expected CPU numbers and ranges such as "1-3,5"')
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise ValueError(f'found "{part.strip()}", expected a range from low to high such as "{last}-{first}"')
        if last > MAX_CPU:
            raise ValueError(f"found CPU {last}, expected CPUs from 0 to {MAX_CPU}")
        cpus.extend(range(first, last + 1))
    return tuple(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """The shortest list that `parse_cpu_list` reads back as the same CPUs in the same order."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
