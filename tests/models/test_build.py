"""Weights files: what they say of themselves, and what is not one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from srprune.core.artifact import FORMAT  # noqa: E402
from srprune.core.errors import ArtifactError, InputError, MissingArtifact  # noqa: E402
from srprune.core.weights import read_weights_header  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import (  # noqa: E402
    build,
    load_weights,
    outline,
    parameter_count,
    save_weights,
)

PARAMS = {"model": "fsrcnn", "model_args": {"d": 4, "s": 3, "m": 1}, "scale": 3}


def write(path: Path, params: dict[str, Any] = PARAMS, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    network, _ = build(params["model"], params["scale"], params["model_args"])
    return save_weights(
        path,
        network,
        parents={"patches": "0123456789abcdef"},
        params=params,
        made={"seconds": 1.5},
        info={"training_images": {"c0": "a.png"}},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "weights.safetensors"


def rewrite(path: Path, metadata: dict[str, str] | None) -> None:
    """The same tensors with another metadata."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=metadata)


def test_header_is_read_without_the_tensors(path: Path) -> None:
    written = write(path)
    header = read_weights_header(path)
    assert header == written
    assert (header.kind, header.format) == ("Weights", FORMAT)
    assert header.params == PARAMS
    assert header.parents == {"patches": "0123456789abcdef"}
    assert header.info == {"training_images": {"c0": "a.png"}}
    assert header.made == {"seconds": 1.5}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_file_alone_is_enough(path: Path) -> None:
    write(path)
    network, domain, _ = load_weights(path)
    assert parameter_count(network) == 100 + 12 + 81 + 12 + 324 + 2 * (4 + 3 + 3 + 4) + 1
    assert (domain.channels, domain.scale, domain.pre_upsampled) == ("y", 3, False)
    with safe_open(path, framework="np") as file:  # any reader of safetensors opens it
        assert sorted(file.keys()) == sorted(network.state_dict())


def test_fingerprint_is_that_of_tensors_and_params(path: Path) -> None:
    first = write(path).fingerprint
    assert write(path).fingerprint == first
    assert write(path, seed=1).fingerprint != first
    assert write(path, {**PARAMS, "seed": 1}).fingerprint != first


def test_changed_tensors_do_not_match_the_fingerprint(path: Path) -> None:
    header = write(path)
    broken = bytearray(path.read_bytes())
    broken[-1] ^= 1  # in the last tensor
    path.write_bytes(broken)
    with pytest.raises(ArtifactError, match=f"does not match its fingerprint {header.fingerprint}"):
        load_weights(path)
    assert read_weights_header(path) == header  # which is not read with the tensors


def test_missing_file(path: Path) -> None:
    for read in (read_weights_header, load_weights):
        with pytest.raises(MissingArtifact, match=r"no weights .*weights\.safetensors"):
            read(path)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_cut_off_file_is_damaged(path: Path, length: int) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"weights\.safetensors is not a readable safetensors"):
        load_weights(path)


def test_another_file_is_no_safetensors(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("these are no weights at all, only a text that goes on for a while")
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        load_weights(path)


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, {"srprune": "no json"}, {"srprune": "[1]"}, {"srprune": "{}"}],
    ids=["none", "foreign", "no json", "a list", "empty"],
)
def test_foreign_safetensors_are_told_apart(path: Path, metadata: dict[str, str] | None) -> None:
    write(path)
    rewrite(path, metadata)
    with pytest.raises(ArtifactError, match="srprune did not write it"):
        load_weights(path)


@pytest.mark.parametrize("more", [{}, {"sealed": True}], ids=["same fields", "more fields"])
def test_newer_format_is_refused_as_such(path: Path, more: dict[str, Any]) -> None:
    header = {**asdict(write(path)), "format": FORMAT + 1, **more}
    rewrite(path, {"srprune": json.dumps(header)})
    with pytest.raises(ArtifactError, match=f"format {FORMAT + 1}; this srprune reads {FORMAT}"):
        load_weights(path)


def test_tensors_of_another_network_are_damage(path: Path) -> None:
    header = asdict(write(path))
    header["params"] = {**PARAMS, "model_args": {"d": 5, "s": 3, "m": 1}}
    rewrite(path, {"srprune": json.dumps(header)})
    with pytest.raises(ArtifactError, match="is damaged"):
        load_weights(path)


@pytest.mark.parametrize("missing", ["model", "scale", "model_args"])
def test_header_without_the_network_is_foreign(path: Path, missing: str) -> None:
    header = asdict(write(path))
    del header["params"][missing]
    rewrite(path, {"srprune": json.dumps(header)})
    with pytest.raises(ArtifactError, match="does not say what it holds"):
        load_weights(path)


@pytest.mark.parametrize("features", [200_000, 1 << 62])
def test_a_network_larger_than_memory_is_one_line(features: int) -> None:
    with pytest.raises(InputError, match=r"not enough memory\. model_args make edsr_baseline"):
        build("edsr_baseline", 2, {"features": features})


@pytest.mark.parametrize("model", list(MODELS))
def test_an_outline_has_the_facts_of_the_network_and_no_weights(model: str) -> None:
    before = torch.get_rng_state()
    args = dict(MODELS.load(model).spec.tiny)
    network, domain = outline(model, 2, args)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    whole, same = build(model, 2, args)
    assert (network.rim, network.spec, domain) == (whole.rim, whole.spec, same)
    assert parameter_count(network) == parameter_count(whole)
