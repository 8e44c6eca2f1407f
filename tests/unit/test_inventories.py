"""Both inventories ask EC2 the same way and set the same things; a real account differs in values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

INVENTORIES = Path(__file__).parents[2] / "inventory"
SIZES = {"postgresql_shared_buffers", "postgresql_effective_cache_size"}


def read(inventory: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((INVENTORIES / inventory / file).read_text())
    return found


@pytest.mark.parametrize("file", ["aws_ec2.yml", "controller.yml"])
def test_who_is_in_the_cluster_is_asked_the_same_way(file: str) -> None:
    assert read("example", file) == read("lab", file)


@pytest.mark.parametrize("file", ["cluster.yml", "connection.yml"])
def test_an_example_has_every_setting_that_the_lab_has(file: str) -> None:
    lab, example = (read(name, f"group_vars/all/{file}") for name in ("lab", "example"))
    assert set(example) - SIZES == set(lab)


def test_a_real_account_is_spoken_to_at_its_own_endpoints() -> None:
    urls = read("example", "group_vars/all/connection.yml")["primacy_endpoint_urls"]
    assert set(urls) == {"ec2", "dynamodb", "s3"}
    assert set(urls.values()) == {""}


@pytest.mark.parametrize("inventory", ["lab", "example"])
def test_the_inventory_asks_for_the_cluster_and_region_that_its_settings_name(inventory: str) -> None:
    settings = read(inventory, "group_vars/all/cluster.yml")
    asked = read(inventory, "aws_ec2.yml")
    assert asked["regions"] == [settings["primacy_region"]]
    assert asked["filters"]["tag:primacy:cluster"] == settings["primacy_cluster"]
    assert {"stopped", "stopping"} <= set(asked["filters"]["instance-state-name"])
