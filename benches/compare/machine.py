"""What the figures were measured on: processor, load, versions."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

# Those that decide which integer kernels run.
FLAGS = ["avx2", "fma", "avx_vnni", "avxvnniint8", "avx512bw", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm"]


def describe() -> dict[str, str]:
    """Name and value of each fact, in the order to print."""
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{info.get('model name', platform.machine())} (family {info.get('cpu family', '?')}, "
        f"model {info.get('model', '?')}), {os.cpu_count()} cores",
        "instruction sets": ", ".join(flag for flag in FLAGS if flag in flags) or "none of those asked for",
        "caches": _caches(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
    }


def has(flag: str) -> bool:
    """Whether the processor has an instruction set, by its name in /proc/cpuinfo."""
    info = _cpuinfo()
    return flag in (info.get("flags") or info.get("Features") or "").split()


def load() -> float:
    """Processes that ran or waited, averaged over the last minute."""
    return os.getloadavg()[0]


def busy() -> tuple[float, float]:
    """Seconds that all cores together have worked, and that a hypervisor has taken from them."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def version(package: str) -> str:
    """Version of an installed package."""
    return metadata.version(package)


def _cpuinfo() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _caches() -> str:
    sizes = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (index / "type").read_text().strip()
        if kind != "Instruction":
            sizes.append(f"L{(index / 'level').read_text().strip()} {(index / 'size').read_text().strip()}")
    return ", ".join(sizes) or "unknown"
