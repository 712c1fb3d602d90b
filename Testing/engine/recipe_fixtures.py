"""Fixtures of phantoms that look like well-known data sets; a test file names this one in `pytest_plugins`."""

from __future__ import annotations

import json
from functools import cache

import pytest
from recipe_phantoms import TINY, as_decathlon, as_downloaded

from topomae.recipes.shelf import find_recipe


@pytest.fixture(scope="module")
def spleen(tmp_path_factory):
    """MSD Task09 as it is downloaded."""
    return as_decathlon(find_recipe("spleen"), tmp_path_factory.mktemp("spleen"))


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A function from the name of a recipe to its data set as it is downloaded, made once; not to be changed."""

    @cache
    def folder(name):
        return as_downloaded(find_recipe(name), tmp_path_factory.mktemp(name), whole=name == "btcv")

    return folder


@pytest.fixture(scope="module")
def a_short_recipe(tmp_path_factory):
    """A user's own recipe, of four scans of the spleen and a small network."""
    content = find_recipe("spleen").model_dump(mode="json")
    names = content["split"]["train"]
    content["name"] = "short"
    content["split"] |= {"train": names[1:4], "val": names[:1], "test": [], "source": "the first four"}
    content["size"] = "small"
    ours = {"published": False, "why": "quick"}
    content["plan"] |= {name: {"value": value, **ours} for name, value in TINY.items()}
    content["pretrain"] = {"steps": {"value": 2, **ours}, "topology_weight": {"value": 0.0, **ours}}
    content["finetune"] = {"steps": {"value": 2, **ours}, "learning_rate": {"value": 1e-3, **ours}}
    path = tmp_path_factory.mktemp("own") / "short.json"
    path.write_text(json.dumps(content))
    return path
