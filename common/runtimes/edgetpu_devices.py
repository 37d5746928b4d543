"""Which Edge TPUs this machine shows, and what keeps them from being used; read from sysfs, no library needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.runtimes.base import RuntimeUnavailable

USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}  # before and after the first use loads its firmware
PCI_ID = ("0x1ac1", "0x089a")
_USB_FIX = (
    "add the user to the group plugdev (`sudo usermod -aG plugdev $USER`, then log in again) and install the udev rule of "
    "libedgetpu1-std, and in a container pass --device /dev/bus/usb"
)
_PCI_FIX = (
    'add the user to the group apex, with the udev rule SUBSYSTEM=="apex", MODE="0660", GROUP="apex", and in a container pass '
    "--device {node}"
)
_DRIVER_FIX = "install its kernel driver (`sudo apt install gasket-dkms`) and restart; /dev/apex_0 then exists"


@dataclass(frozen=True)
class EdgeTpu:
    """One device. name: as `device` asks for it, usb:0; problem: why it cannot be opened, with the fix."""

    kind: Literal["usb", "pci"]
    index: int
    what: str
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.index}"


def list_edge_tpus(root: Path = Path("/"), may_use: Callable[[Path], bool] | None = None) -> list[EdgeTpu]:
    """All Edge TPUs, USB first, in the order of their addresses.

    root: of the file system, for tests. may_use: whether this process may read and write a device file.
    """
    allowed = may_use or (lambda path: os.access(path, os.R_OK | os.W_OK))
    return [*_usb(root, allowed), *_pci(root, allowed)]


def _usb(root: Path, may_use: Callable[[Path], bool]) -> list[EdgeTpu]:
    found: list[EdgeTpu] = []
    for vendor in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        ids = (_text(vendor), _text(vendor.with_name("idProduct")))
        if ids not in USB_IDS:
            continue
        numbers = [_text(vendor.with_name(name)) for name in ("busnum", "devnum")]
        node = root / "dev/bus/usb" / "/".join(number.zfill(3) for number in numbers)
        problem = None if not all(numbers) or may_use(node) else f"no permission for {node}; {_USB_FIX}"
        speed = _text(vendor.with_name("speed"))
        slow = ", at USB 2 speed: use a USB 3 port" if speed in ("12", "480") else ""
        found.append(EdgeTpu("usb", len(found), f"USB {':'.join(ids)}{slow}", problem))
    return found


def _pci(root: Path, may_use: Callable[[Path], bool]) -> list[EdgeTpu]:
    nodes = sorted((root / "dev").glob("apex_*"))
    cards = [
        vendor.parent
        for vendor in sorted((root / "sys/bus/pci/devices").glob("*/vendor"))
        if (_text(vendor), _text(vendor.with_name("device"))) == PCI_ID
    ]
    found: list[EdgeTpu] = []
    for index in range(max(len(nodes), len(cards))):
        if index < len(nodes):
            node = nodes[index]
            problem = None if may_use(node) else f"no permission for {node}; {_PCI_FIX.format(node=node)}"
            found.append(EdgeTpu("pci", index, str(node), problem))
        else:
            found.append(EdgeTpu("pci", index, f"PCI {cards[index].name}", f"no device file; {_DRIVER_FIX}"))
    return found


def candidates(device: str, here: list[EdgeTpu]) -> list[str]:
    """The devices to try for a name: `usb:1` that one, `usb` or `pci` all of the kind, `auto` all.

    Raises RuntimeUnavailable naming what there is and what keeps it from being used.
    """
    kind, _, index = device.partition(":")
    if device != "auto" and (kind not in ("usb", "pci") or (index and not index.isdigit()) or device.endswith(":")):
        raise RuntimeUnavailable(f"runtime 'edgetpu' has no device {device!r}; choose auto, usb, pci, usb:0 or pci:0")
    wanted = [tpu for tpu in here if device == "auto" or (tpu.kind == kind and index in ("", str(tpu.index)))]
    usable = [tpu.name for tpu in wanted if tpu.problem is None]
    if usable:
        return usable
    if wanted:
        raise RuntimeUnavailable("; ".join(f"Edge TPU {tpu.name} ({tpu.what}): {tpu.problem}" for tpu in wanted))
    there = ", ".join(f"{tpu.name} ({tpu.what})" for tpu in here)
    if not there:
        raise RuntimeUnavailable(
            "no Edge TPU is connected: `lsusb` shows 1a6e:089a or 18d1:9302, `lspci` 1ac1:089a, where there is one; plug it "
            "in, and give it a port with enough power"
        )
    raise RuntimeUnavailable(f"runtime 'edgetpu' has no device {device!r} here; choose one of: {there}")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
