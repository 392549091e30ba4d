"""Weights of other programs: which network they are of, and what is said if of none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from srprune.core.errors import ArtifactError, InputError, UnknownName  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build, default_of  # noqa: E402
from srprune.models.foreign import load_foreign  # noqa: E402

TELLS_NO_SCALE = {"drrn", "fsrcnn", "fsrcnn_s", "idn", "srcnn"}


def tiny(model: str, scale: int = 2, **args: Any) -> Any:
    torch.manual_seed(1)
    return build(model, scale, {**MODELS.load(model).spec.tiny, **args})


def write(path: Path, state: dict[str, Any]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def outputs(network: Any, domain: Any) -> Any:
    x = domain.input(torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(2)))
    with torch.inference_mode():
        return network.eval()(x)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model", sorted(set(MODELS) - {"edsr_large"}))
def test_own_names_are_recognised(model: str, scale: int, tmp_path: Path) -> None:
    network, domain = tiny(model, scale)
    path = write(tmp_path / "some.safetensors", network.state_dict())
    asked = scale if model in TELLS_NO_SCALE else None
    found = load_foreign(path, asked)
    kind = MODELS.load(model)
    # presets of one class are told by their sizes, and these are tiny ones
    assert isinstance(found.network, MODELS.load(found.model))
    assert issubclass(kind, MODELS.load(found.model)) or issubclass(MODELS.load(found.model), kind)
    assert found.domain == domain
    assert torch.equal(outputs(found.network, found.domain), outputs(network, domain))
    assert load_foreign(path, scale).fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("model", "other"),
    [
        ("fsrcnn", "fsrcnn_s"),
        ("fsrcnn_s", "fsrcnn"),
        ("edsr_baseline", "edsr_large"),
        ("swinir_light", "swinir"),
    ],
)
def test_published_sizes_of_one_class_get_their_own_name(
    model: str, other: str, tmp_path: Path
) -> None:
    network, _ = build(model, 2, {})
    assert load_foreign(write(tmp_path / "m.safetensors", network.state_dict()), 2).model == model


@pytest.mark.parametrize("model", ["srcnn", "drrn"])
def test_the_scale_must_be_given_where_nothing_tells_it(model: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", tiny(model)[0].state_dict())
    with pytest.raises(InputError, match=f"holds {model}, whose tensors do not tell the scale"):
        load_foreign(path, None)
    assert load_foreign(path, 3).domain.scale == 3


def test_edsr_of_256_maps_is_the_large_one(tmp_path: Path) -> None:
    """Nothing else tells whether a residual counts whole or for a tenth."""
    for model, features in (("edsr_large", 256), ("edsr_baseline", 8)):
        network, domain = tiny("edsr_large", features=features)
        found = load_foreign(write(tmp_path / "m.safetensors", network.state_dict()), None)
        assert found.model == model
        same = torch.equal(outputs(found.network, domain), outputs(network, domain))
        assert same == (features == 256)


def test_another_scale_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", tiny("rcan", 4)[0].state_dict())
    with pytest.raises(InputError, match=r"is a model of x4, but --scale is 2\."):
        load_foreign(path, 2)


def test_missing_and_extra_tensors_are_named(tmp_path: Path) -> None:
    state = tiny("msrresnet")[0].state_dict()
    del state["conv_last.bias"]
    state["surplus"] = torch.ones(1)
    with pytest.raises(ArtifactError) as caught:
        load_foreign(write(tmp_path / "m.safetensors", state), None)
    said = str(caught.value)
    assert "looks like msrresnet, but its tensors do not fit" in said
    assert "1 missing or of another shape: conv_last.bias" in said
    assert "1 too many: surplus" in said
    assert "\n" not in said


def test_many_are_counted_and_the_first_named(tmp_path: Path) -> None:
    state = tiny("rdn")[0].state_dict()
    state.update({f"more.{i}": torch.ones(1) for i in range(5)})
    with pytest.raises(ArtifactError, match=r"5 too many: more\.0, more\.1, more\.2, \.\.\."):
        load_foreign(write(tmp_path / "m.safetensors", state), None)


def test_another_shape_is_not_loaded(tmp_path: Path) -> None:
    state = tiny("msrresnet")[0].state_dict()
    state["conv_hr.weight"] = state["conv_hr.weight"][:, :, :1, :1]
    with pytest.raises(ArtifactError, match=r"another shape: conv_hr\.weight"):
        load_foreign(write(tmp_path / "m.safetensors", state), None)


def test_a_network_of_no_kind_lists_the_known_ones(tmp_path: Path) -> None:
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).state_dict()
    with pytest.raises(ArtifactError, match="of no network that srprune knows") as caught:
        load_foreign(write(tmp_path / "m.safetensors", state), None)
    assert all(name in str(caught.value) for name in (*MODELS, "0.weight", "spandrel:FILE"))


@given(data=st.data())
@settings(deadline=None, max_examples=12)  # of each network
@pytest.mark.parametrize("model", sorted(MODELS))
def test_senseless_shapes_are_refused_in_one_line(model: str, data: Any) -> None:
    """Names of a network, shapes of none: nothing but our own errors comes back."""
    names = list(tiny(model)[0].state_dict())
    shapes = st.lists(st.integers(0, 3), max_size=5)
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=9, unique=True))
    state = {name: torch.zeros(data.draw(shapes)) for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "m.safetensors", state)
        with pytest.raises((ArtifactError, InputError)) as caught:
            load_foreign(path, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["attn_mask", "relative_position_index"])
def test_swinir_without_its_buffers_has_them_made_anew(part: str, tmp_path: Path) -> None:
    network, domain = tiny("swinir")
    state = {n: t for n, t in network.state_dict().items() if not n.endswith(part)}
    found = load_foreign(write(tmp_path / "m.safetensors", state), None)
    assert torch.equal(outputs(found.network, domain), outputs(network, domain))


def test_a_mask_without_values_does_not_size_the_network(tmp_path: Path) -> None:
    """Its first axis would ask for petabytes."""
    network, domain = tiny("swinir")
    state = network.state_dict()
    for name in [name for name in state if name.endswith("attn_mask")]:
        state[name] = torch.zeros(10**12, 0, 0)
    found = load_foreign(write(tmp_path / "m.safetensors", state), None)
    assert torch.equal(outputs(found.network, domain), outputs(network, domain))


def test_edsr_on_another_range_is_told_apart(tmp_path: Path) -> None:
    state = tiny("edsr_baseline")[0].state_dict()
    state["sub_mean.bias"] = state["sub_mean.bias"] / 255
    with pytest.raises(ArtifactError, match=r"constant sub_mean\.bias is another"):
        load_foreign(write(tmp_path / "m.safetensors", state), None)


def test_presets_of_one_class_share_its_arguments() -> None:
    for name, other in (("fsrcnn", "fsrcnn_s"), ("swinir", "swinir_light")):
        kinds = MODELS.load(name), MODELS.load(other)
        assert issubclass(kinds[1], kinds[0])
        assert [default_of(k, "channels") for k in kinds] == [k.spec.channels for k in kinds]


def test_unknown_names_stay_unknown() -> None:
    with pytest.raises(UnknownName):
        build("swinirr", 2, {})
