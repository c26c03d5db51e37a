"""Check the contents of an sru-kernels wheel: no bundled library and no path of the build machine."""

import hashlib
import sys
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

# Libraries that every Linux of the tag has. The CUDA driver is looked up when needed, the CUDA runtime is
# linked statically, and torch is never linked.
SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
SYSTEM |= {"libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
LARGEST_LIBRARY = 20_000_000


@dataclass(frozen=True)
class Contents:
    """An inspected wheel; `str` describes it."""

    wheel: Path
    libraries: dict[str, tuple[int, list[str]]]  # name -> size in bytes, what it links
    size: int
    sha256: str

    def __str__(self) -> str:
        lines = [f"{self.wheel.name}: {self.size / 1e6:.2f} MB, sha256 {self.sha256}"]
        for name, (size, links) in self.libraries.items():
            lines.append(f"  {name}: {size / 1e6:.2f} MB, links {', '.join(links)}")
        return "\n".join(lines)


def dynamic_tags(library: bytes) -> list[tuple[str, str]]:
    """Return the names of the libraries that an ELF file needs, and its search path for them."""
    sections = ELFFile(BytesIO(library)).iter_sections()
    tags = [tag for section in sections if isinstance(section, DynamicSection) for tag in section.iter_tags()]
    kinds = {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
    wanted = [(kinds[tag.entry.d_tag], tag) for tag in tags if tag.entry.d_tag in kinds]
    return [(kind, getattr(tag, kind)) for kind, tag in wanted]


def look_into(wheel: Path, *, cuda: bool) -> Contents:
    """Inspect a wheel; exit with a list of its problems, if there are any."""
    wrong = [] if "manylinux_" in wheel.name else ["it has no manylinux tag"]
    libraries = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in (name for name in archive.namelist() if ".so" in Path(name).name):
            binary = archive.read(name)
            tags = dynamic_tags(binary)
            links = sorted(value for kind, value in tags if kind == "needed")
            libraries[name] = (len(binary), links)
            wrong += [f"{name} links {link}" for link in links if link not in SYSTEM]
            wrong += [f"{name} has the {kind} {value}" for kind, value in tags if kind != "needed"]
            if len(binary) > LARGEST_LIBRARY:
                wrong.append(f"{name} has {len(binary)} bytes, more than {LARGEST_LIBRARY}")
    modules = ["sru_kernels/_cuda", "sru_kernels/_native"] if cuda else ["sru_kernels/_native"]
    if (found := sorted(name.split(".")[0] for name in libraries)) != modules:
        wrong.append(f"it should hold {modules} and no other library, but holds {found}")
    if wrong:
        sys.exit("\n  ".join([f"{wheel.name} may not be published:", *wrong]))
    content = wheel.read_bytes()
    return Contents(wheel, libraries, len(content), hashlib.sha256(content).hexdigest())
