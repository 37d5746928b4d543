"""The tables of published names themselves, against numbers that others publish. Needs no PyTorch."""

from __future__ import annotations

import math

import pytest

from tests.models.fastpose import published

# torchvision's published counts less those of the classifier, which poses do not have: (512 or 2048) * 1000 + 1000.
RESNET_PARAMETERS = {
    18: 11_689_512 - 513_000,
    50: 25_557_032 - 2_049_000,
    101: 44_549_160 - 2_049_000,
    152: 60_192_808 - 2_049_000,
}


@pytest.mark.parametrize("layers", published.STAGES)
def test_the_plain_backbone_has_as_many_parameters_as_torchvision_says(layers: int) -> None:
    table = published.backbone("Resnet", layers)
    learned = [shape for name, shape in table if "running" not in name and "tracked" not in name]
    assert sum(map(math.prod, learned)) == RESNET_PARAMETERS[layers]


def test_names_that_users_reported_are_in_the_tables() -> None:
    """AlphaPose, issue 676: a file of the 421 head given to the plain one, and what PyTorch said was missing and unexpected."""
    plain, duc = dict(published.TABLES["fast_res50_256x192"]), dict(published.TABLES["fast_421_res152_256x192"])
    for name in ("duc1.conv.weight", "duc1.bn.running_var", "duc2.conv.weight", "duc2.bn.bias"):
        assert name in plain
        assert name not in duc
    for name in ("duc3.1.weight", "duc3.2.running_mean", "duc3.2.num_batches_tracked", "preact.layer2.4.conv1.weight"):
        assert name in duc
        assert name not in plain


def test_no_name_comes_twice() -> None:
    for table in published.TABLES.values():
        assert len(dict(table)) == len(table)
