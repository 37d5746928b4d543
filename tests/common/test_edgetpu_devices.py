"""Which Edge TPUs sysfs shows, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.runtimes import RuntimeUnavailable
from common.runtimes.edgetpu_devices import EdgeTpu, candidates, list_edge_tpus


def add_usb(root: Path, port: str, ids: tuple[str, str], *, device: int = 4, speed: str = "5000") -> Path:
    folder = root / "sys/bus/usb/devices" / port
    folder.mkdir(parents=True)
    values = {"idVendor": ids[0], "idProduct": ids[1], "busnum": "2", "devnum": str(device), "speed": speed}
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    node = root / "dev/bus/usb/002" / f"{device:03d}"
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    return node


def add_pci(root: Path, slot: str, *, node: str | None) -> None:
    folder = root / "sys/bus/pci/devices" / slot
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x1ac1\n")
    (folder / "device").write_text("0x089a\n")
    if node is not None:
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev" / node).touch()


def test_usb_and_pci_are_found_and_numbered(tmp_path):
    add_usb(tmp_path, "2-1", ("1a6e", "089a"), device=3)
    add_usb(tmp_path, "2-2", ("18d1", "9302"), device=4)
    add_usb(tmp_path, "2-3", ("046d", "c31c"), device=5)  # a keyboard
    add_pci(tmp_path, "0000:01:00.0", node="apex_0")
    found = list_edge_tpus(tmp_path)
    assert [tpu.name for tpu in found] == ["usb:0", "usb:1", "pci:0"]
    assert [tpu.problem for tpu in found] == [None] * 3
    assert found[1].what == "USB 18d1:9302"


def test_a_machine_without_any_has_none(tmp_path):
    assert list_edge_tpus(tmp_path) == []


def test_a_usb_stick_that_may_not_be_used_names_group_and_rule(tmp_path):
    node = add_usb(tmp_path, "2-1", ("18d1", "9302"))
    (tpu,) = list_edge_tpus(tmp_path, may_use=lambda path: path != node)
    assert f"no permission for {node}; add the user to the group plugdev" in str(tpu.problem)
    assert "udev rule of libedgetpu1-std" in str(tpu.problem)


def test_a_card_that_may_not_be_used_names_its_group(tmp_path):
    add_pci(tmp_path, "0000:01:00.0", node="apex_0")
    (tpu,) = list_edge_tpus(tmp_path, may_use=lambda path: False)
    assert "apex_0; add the user to the group apex" in str(tpu.problem)


def test_a_card_without_its_driver_names_the_package(tmp_path):
    add_pci(tmp_path, "0000:01:00.0", node=None)
    (tpu,) = list_edge_tpus(tmp_path)
    assert tpu.what == "PCI 0000:01:00.0"
    assert "sudo apt install gasket-dkms" in str(tpu.problem)


def test_a_stick_in_a_slow_port_is_said_but_used(tmp_path):
    add_usb(tmp_path, "1-1", ("18d1", "9302"), speed="480")
    (tpu,) = list_edge_tpus(tmp_path)
    assert "at USB 2 speed: use a USB 3 port" in tpu.what
    assert tpu.problem is None


HERE = [EdgeTpu("usb", 0, "a"), EdgeTpu("usb", 1, "b", "no permission"), EdgeTpu("pci", 0, "c")]


@pytest.mark.parametrize(
    ("device", "names"),
    [("auto", ["usb:0", "pci:0"]), ("usb", ["usb:0"]), ("pci", ["pci:0"]), ("usb:0", ["usb:0"]), ("pci:0", ["pci:0"])],
)
def test_a_name_stands_for_the_usable_devices_it_fits(device, names):
    assert candidates(device, HERE) == names


def test_a_device_that_cannot_be_used_says_why():
    with pytest.raises(RuntimeUnavailable, match=r"Edge TPU usb:1 \(b\): no permission"):
        candidates("usb:1", HERE)


@pytest.mark.parametrize("device", ["gpu:0", "usb:", "usb:x", "cpu", ""])
def test_other_names_are_refused_with_the_right_ones(device):
    with pytest.raises(RuntimeUnavailable, match="choose auto, usb, pci, usb:0 or pci:0"):
        candidates(device, HERE)


def test_a_device_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(RuntimeUnavailable, match=r"no device 'pci:3' here; .* of: usb:0 \(a\), usb:1 \(b\), pci:0 \(c\)"):
        candidates("pci:3", HERE)
    with pytest.raises(RuntimeUnavailable, match="no Edge TPU is connected"):
        candidates("usb:0", [])
