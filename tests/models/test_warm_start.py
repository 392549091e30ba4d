"""Warm starts: what a network takes from a file, what it says of it, and what it refuses."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

from srprune.core.errors import ArtifactError, MissingArtifact  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build, save_weights  # noqa: E402
from srprune.models.foreign import load_foreign  # noqa: E402
from srprune.models.warm_start import WarmStart, warm_start  # noqa: E402

HINT = r"\. Pass init\.strict=false to take what fits\.$"


def tiny(model: str, scale: int = 2, seed: int = 1, **args: Any) -> Any:
    torch.manual_seed(seed)
    return build(model, scale, {**MODELS.load(model).spec.tiny, **args})[0]


def trained(model: str, scale: int = 2, **args: Any) -> Any:
    """A network of which no weight and no statistic is what a fresh one has."""
    network = tiny(model, scale, seed=2, **args)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor += 7
        elif not re.fullmatch(network.constants, name):
            tensor += 0.1 + 0.1 * torch.rand_like(tensor)
    return network


def state(network: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def write(path: Path, tensors: dict[str, Any]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def own(path: Path, network: Any, model: str, scale: int = 2, **args: Any) -> str:
    """Write srprune's own file; give the fingerprint of its header."""
    params = {
        "model": model,
        "model_args": {**MODELS.load(model).spec.tiny, **args},
        "scale": scale,
    }
    return save_weights(path, network, parents={}, params=params, made={}, info={}).fingerprint


def refused(network: Any, model: str, path: Path, *, strict: bool = True) -> str:
    """What is said; the network must stay as it was, bit for bit."""
    before = state(network)
    with pytest.raises(ArtifactError) as caught:
        warm_start(network, model, path, strict=strict)
    assert same(state(network), before)
    said = str(caught.value)
    assert said.isprintable()  # so it is one line
    assert str(path) in said
    return said


def theirs_of(network: Any, names: list[str]) -> dict[str, Any]:
    """The tensors of a network under those of the names there that it has a place for."""
    (naming,) = network.namings
    return {t: network.state_dict()[ours] for t, ours in naming.translate(names).items()}


def rcan_names(scale: int) -> list[str]:
    """BasicSR's names of the tiny RCAN."""
    layers = ["conv_first", "conv_after_body", "conv_last", "body.0.conv", "body.1.conv"]
    layers += [f"upsample.{i}" for i in ([0, 2] if scale == 4 else [0])]
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        block = f"body.{i}.residual_group.{j}.rcab"
        layers += [f"{block}.{part}" for part in ("0", "2", "3.attention.1", "3.attention.3")]
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_own_file_is_taken_whole(model: str, strict: bool, tmp_path: Path) -> None:
    source, network = trained(model), tiny(model)
    path = tmp_path / "weights.safetensors"
    mark = own(path, source, model)
    weights = {n for n in source.state_dict() if not re.fullmatch(source.constants, n)}
    assert not any(
        torch.equal(network.state_dict()[name], source.state_dict()[name]) for name in weights
    )
    started = warm_start(network, model, path, strict=strict)
    assert started == WarmStart(path, mark, len(weights), (), (), (), ())
    assert same(state(network), state(source))
    assert str(started) == f"{len(weights)} of {len(weights)} tensors from {path}"


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("scale", [2, 4])
def test_names_of_basicsr(scale: int, suffix: str, tmp_path: Path) -> None:
    source, network = trained("rcan", scale), tiny("rcan", scale)
    theirs = theirs_of(source, rcan_names(scale))
    assert len(theirs) == sum(1 for _ in source.parameters())
    path = tmp_path / f"net_g_latest.{suffix}"
    if suffix == "pth":
        torch.save({"params_ema": theirs, "params": {n: 0 * t for n, t in theirs.items()}}, path)
    else:
        write(path, theirs)
    started = warm_start(network, "rcan", path, strict=True)
    assert started.taken == len(theirs)
    assert same(state(network), state(source))


def test_names_of_caffe(tmp_path: Path) -> None:
    """A file in Caffe's own format; the least of protobuf that it needs."""

    def varint(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 127 else bytes([value])

    def nested(field: int, content: bytes) -> bytes:
        return varint(field << 3 | 2) + varint(len(content)) + content

    def blob(tensor: Any) -> bytes:
        values = struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
        return nested(7, nested(1, b"".join(map(varint, tensor.shape)))) + nested(5, values)

    source, network = trained("idn"), tiny("idn")
    layers = ["conv1", "conv2", *(f"conv3_{i}" for i in range(1, 7)), "down1", "upsample"]
    theirs = theirs_of(source, [f"{n}.{part}" for n in layers for part in ("weight", "bias")])
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(
        b"".join(
            nested(
                100,
                nested(1, name.encode())
                + nested(7, blob(theirs[f"{name}.weight"]))
                + nested(7, blob(theirs[f"{name}.bias"])),
            )
            for name in layers
        )
    )
    assert warm_start(network, "idn", path, strict=True).taken == len(source.state_dict())
    assert same(state(network), state(source))


@pytest.mark.parametrize(("scale", "fresh"), [(4, "missing"), (3, "other_shape")])
def test_another_scale_gives_the_body(scale: int, fresh: str, tmp_path: Path) -> None:
    source, network = trained("edsr_baseline", 2), tiny("edsr_baseline", scale)
    path = tmp_path / "weights.safetensors"
    mark = own(path, source, "edsr_baseline")
    before = state(network)
    upsampler = {
        "missing": ("tail.0.2.weight", "tail.0.2.bias"),
        "other_shape": ("tail.0.0.weight", "tail.0.0.bias"),
    }[fresh]
    said = refused(network, "edsr_baseline", path)
    word = {"missing": "missing", "other_shape": "of another shape"}[fresh]
    assert re.fullmatch(
        rf"{re.escape(str(path))} does not fit edsr_baseline \(2 {word}: {upsampler[0]}, "
        rf"{upsampler[1]}\){HINT}",
        said,
    )

    started = warm_start(network, "edsr_baseline", path, strict=False)
    whole = sum(1 for _ in network.parameters())
    parts = {"missing": (), "other_shape": (), fresh: upsampler}
    assert started == WarmStart(path, mark, whole - 2, unused=(), other_value=(), **parts)
    why = {"missing": "not in the file", "other_shape": "of another shape"}[fresh]
    assert str(started) == (
        f"{whole - 2} of {whole} tensors from {path}; 2 fresh, {why}: {', '.join(upsampler)}"
    )
    expected = {n: before[n] if n in upsampler else source.state_dict()[n] for n in before}
    assert same(state(network), expected)


def test_another_scale_of_rdn(tmp_path: Path) -> None:
    """Its last conv moves: what was the last at x2 stands where x4 has the second stage."""
    source, network = trained("rdn", 2), tiny("rdn", 4)
    path = write(tmp_path / "m.safetensors", source.state_dict())
    started = warm_start(network, "rdn", path, strict=False)
    assert started.missing == ("UPNet.4.weight", "UPNet.4.bias")
    assert started.other_shape == ("UPNet.2.weight", "UPNet.2.bias")
    assert started.unused == ()
    assert torch.equal(network.RDBs[1].LFF.weight, source.RDBs[1].LFF.weight)


def test_a_larger_file_leaves_some_unused(tmp_path: Path) -> None:
    source, network = trained("rcan", 2, groups=3), tiny("rcan", 2)
    path = write(tmp_path / "m.safetensors", source.state_dict())
    said = refused(network, "rcan", path)
    assert re.search(
        r"\(2 missing: body\.2\.weight, body\.2\.bias; 20 without a place: "
        rf"body\.2\.body\.0\.body\.0\.\w+, [^,]+, [^,]+, \.\.\.\){HINT}",
        said,
    )
    started = warm_start(network, "rcan", path, strict=False)
    assert set(started.unused) == source.state_dict().keys() - network.state_dict().keys()
    assert "; 20 of the file unused: body.2.body.0" in str(started)
    assert str(started).isprintable()


def test_tensors_of_the_file_keep_its_names(tmp_path: Path) -> None:
    theirs = theirs_of(trained("rcan"), rcan_names(2))
    theirs["mask.weight"] = torch.ones(2)
    theirs["conv_first.weight"] = theirs["conv_first.weight"][:, :, 1:, 1:]
    del theirs["conv_last.bias"]
    path = write(tmp_path / "m.safetensors", theirs)
    said = refused(tiny("rcan"), "rcan", path)
    assert said == (
        f"{path}, named as in BasicSR, does not fit rcan (1 missing: tail.1.bias; 1 of another "
        "shape: head.0.weight; 1 without a place: mask.weight). Pass init.strict=false to take "
        "what fits."
    )


def test_two_tensors_for_one_place_are_one_too_many(tmp_path: Path) -> None:
    """yjn870's last conv counts the tensors before it; without biases it seems to be a stage."""
    names = [f"{n}.weight" for n in ("sfe1", "sfe2", "upscale.0", "upscale.2", "output")]
    shapes = [(8, 3, 3, 3), (8, 8, 3, 3), (32, 8, 3, 3), (32, 8, 3, 3), (3, 8, 3, 3)]
    theirs = {n: torch.zeros(s) for n, s in zip(names, shapes, strict=True)}
    torch.save(theirs, tmp_path / "m.pth")
    started = warm_start(tiny("rdn", 4), "rdn", tmp_path / "m.pth", strict=False)
    assert started.taken == 4
    assert started.unused == ("output.weight",)


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_fits_in_a_file_of_another_network(strict: bool, tmp_path: Path) -> None:
    own(tmp_path / "m.safetensors", trained("msrresnet"), "msrresnet")
    said = refused(tiny("srcnn"), "srcnn", tmp_path / "m.safetensors", strict=strict)
    assert f"no tensor of {tmp_path / 'm.safetensors'} fits srcnn (its tensors: " in said
    assert "init.strict" not in said  # it would not help


def test_constants_alone_are_nothing(tmp_path: Path) -> None:
    network = trained("edsr_baseline")
    constants = {n: t for n, t in network.state_dict().items() if "mean" in n}
    assert constants
    path = write(tmp_path / "m.safetensors", {**constants, "other": torch.ones(1)})
    assert "no tensor of" in refused(tiny("rcan"), "rcan", path, strict=False)


def test_another_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    own(path, trained("rcan"), "rcan")
    said = refused(tiny("rcan", features=16), "rcan", path)
    assert re.search(
        rf"does not fit rcan \(\d+ of another shape: ([^,]+, ){{3}}\.\.\.\){HINT}", said
    )
    network = tiny("rcan", features=16)
    started = warm_start(network, "rcan", path, strict=False)
    assert not started.missing
    assert torch.equal(network.tail[1].bias, trained("rcan").tail[1].bias)  # three, at any width


@pytest.mark.parametrize("strict", [True, False])
def test_nan_is_refused(strict: bool, tmp_path: Path) -> None:
    broken = trained("srcnn").state_dict()
    next(iter(broken.values())).view(-1)[0] = torch.nan
    path = write(tmp_path / "m.safetensors", broken)
    assert "holds NaN or infinity" in refused(tiny("srcnn"), "srcnn", path, strict=strict)


def test_a_changed_file_of_our_own_is_refused(tmp_path: Path) -> None:
    """Its header has the fingerprint of other weights, which would be written down."""
    path = tmp_path / "m.safetensors"
    own(path, trained("srcnn"), "srcnn")
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(raw)
    assert "does not match its fingerprint" in refused(tiny("srcnn"), "srcnn", path, strict=False)


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors", "m.caffemodel"])
def test_no_file_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=re.escape(name)):
        warm_start(tiny("srcnn"), "srcnn", tmp_path / name, strict=True)


@pytest.mark.parametrize("model", ["srresnet", "drrn", "swinir", "edsr_baseline"])
def test_a_file_may_lack_the_constants(model: str, tmp_path: Path) -> None:
    source, network = trained(model), tiny(model)
    before = state(network)
    free = [n for n in before if re.fullmatch(source.constants, n)]
    weights = {n: t for n, t in source.state_dict().items() if n not in free}
    assert free
    path = write(tmp_path / "m.safetensors", weights)
    assert warm_start(network, model, path, strict=True).taken == len(weights)
    assert same(state(network), {n: before[n] if n in free else weights[n] for n in before})


@pytest.mark.parametrize("sides", [(16, 24), (24, 16), (16, 8), (8, 16)])
def test_masks_of_another_image_size_do_not_count(sides: tuple[int, int], tmp_path: Path) -> None:
    """At 8 px, one window, a network has no masks at all."""
    source, network = (trained("swinir", img_size=s) for s in sides)
    for parameter in network.parameters():
        parameter.data.zero_()
    before = state(network)
    masks = [name for name in before if name.endswith("attn_mask")]
    assert bool(masks) == (sides[1] > 8)
    path = tmp_path / "m.safetensors"
    own(path, source, "swinir", img_size=sides[0])
    started = warm_start(network, "swinir", path, strict=True)
    assert started.taken == len(list(source.parameters()))
    expected = {n: before[n] if n in masks else source.state_dict()[n] for n in before}
    assert same(state(network), expected)


def test_constants_of_other_values_are_not_taken(tmp_path: Path) -> None:
    """EDSR on 0 to 1: but for its biases it is the same network, and a start."""
    source, network = trained("edsr_baseline"), tiny("edsr_baseline")
    tensors = source.state_dict()
    tensors["sub_mean.bias"] = tensors["sub_mean.bias"] / 255
    path = write(tmp_path / "m.safetensors", tensors)
    assert "(1 of another value: sub_mean.bias)" in refused(network, "edsr_baseline", path)
    started = warm_start(network, "edsr_baseline", path, strict=False)
    assert started.other_value == ("sub_mean.bias",)
    assert str(started).endswith("; 1 kept, of another value in the file: sub_mean.bias")
    assert same(state(network), state(source))


def test_rounded_constants_are_those_of_the_file(tmp_path: Path) -> None:
    tensors = state(trained("edsr_baseline"))
    tensors["add_mean.bias"] *= 1 + 1e-5
    network = tiny("edsr_baseline")
    path = write(tmp_path / "m.safetensors", tensors)
    warm_start(network, "edsr_baseline", path, strict=True)
    assert same(state(network), tensors)


def test_an_index_of_other_values_is_not_taken(tmp_path: Path) -> None:
    """Taken, it would point outside its table."""
    source, network = trained("swinir"), tiny("swinir")
    tensors = state(source)
    name = "layers.0.residual_group.blocks.0.attn.relative_position_index"
    tensors[name] += 1000
    path = write(tmp_path / "m.safetensors", tensors)
    assert f"(1 of another value: {name})" in refused(network, "swinir", path)
    assert warm_start(network, "swinir", path, strict=False).other_value == (name,)
    assert same(state(network), state(source))


def yjn870(source: Any) -> dict[str, Any]:
    """The tiny RDN at x2 under yjn870's names."""
    layers = ["sfe1", "sfe2", "gff.0", "gff.1", "upscale.0", "output"]
    layers += [f"rdbs.{i}.layers.{j}.conv" for i in range(2) for j in range(2)]
    layers += [f"rdbs.{i}.lff" for i in range(2)]
    return theirs_of(source, [f"{n}.{part}" for n in layers for part in ("weight", "bias")])


@pytest.mark.parametrize("ours", [True, False], ids=["our file", "their names"])
def test_arguments_that_no_tensor_tells(ours: bool, tmp_path: Path) -> None:
    """yjn870's RDN works on 0 to 1, as ours may; another range is another network."""
    source = trained("rdn", value_range=1)
    path = tmp_path / "m.safetensors"
    if ours:
        own(path, source, "rdn", value_range=1)
    else:
        write(path, yjn870(source))
    network = tiny("rdn", value_range=1)
    assert warm_start(network, "rdn", path, strict=True).other_value == ()
    assert same(state(network), state(source))

    network = tiny("rdn")
    assert "(1 of another value: value_range=1)" in refused(network, "rdn", path)
    assert warm_start(network, "rdn", path, strict=False).other_value == ("value_range=1",)
    assert network.value_range == 255
    assert same(state(network), state(source))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_networks_keep_what_their_namings_imply(model: str) -> None:
    network = tiny(model)
    assert all(hasattr(network, arg) for naming in network.namings for arg in naming.implies)


def test_fingerprint_is_of_the_tensors(tmp_path: Path) -> None:
    """Not of their order, wrapping or kind of file."""
    tensors = trained("srcnn").state_dict()
    write(tmp_path / "a.safetensors", tensors)
    torch.save({"params": dict(reversed(tensors.items()))}, tmp_path / "b.pth")
    torch.save(
        {n: torch.nn.Parameter(t) for n, t in load_file(tmp_path / "a.safetensors").items()},
        tmp_path / "c.pth",
    )
    next(iter(tensors.values())).view(-1)[0] += 1
    write(tmp_path / "d.safetensors", tensors)
    marks = [
        warm_start(tiny("srcnn"), "srcnn", path, strict=True).fingerprint
        for path in sorted(tmp_path.iterdir())
    ]
    assert marks[0] == marks[1] == marks[2] != marks[3]
    assert re.fullmatch(r"[0-9a-f]{16}", marks[0])


def test_a_file_of_parameters_opens_as_a_network_too(tmp_path: Path) -> None:
    source = trained("msrresnet")
    torch.save(dict(source.named_parameters()), tmp_path / "m.pth")
    assert same(state(load_foreign(tmp_path / "m.pth", None).network), state(source))


def test_the_network_stays_trainable_and_where_it_was(tmp_path: Path) -> None:
    """Loading is in place: an optimizer made before it goes on with the same parameters."""
    network = tiny("edsr_baseline").double()
    before = {name: (id(p), p.stride()) for name, p in network.named_parameters()}
    own(tmp_path / "m.safetensors", trained("edsr_baseline"), "edsr_baseline")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    warm_start(network, "edsr_baseline", tmp_path / "m.safetensors", strict=True)
    assert torch.equal(torch.rand(3), expected)  # it draws no random numbers
    assert {name: (id(p), p.stride()) for name, p in network.named_parameters()} == before
    assert all(p.requires_grad and p.dtype == torch.float64 for p in network.parameters())


def test_names_that_would_break_the_line_do_not(tmp_path: Path) -> None:
    tensors = state(trained("srcnn"))
    path = write(tmp_path / "m.safetensors", {**tensors, "a\nb": torch.ones(1)})
    assert r"'a\nb'" in refused(tiny("srcnn"), "srcnn", path)
    path = write(tmp_path / "n.safetensors", {"a\nb": torch.ones(1)})
    assert r"'a\nb'" in refused(tiny("srcnn"), "srcnn", path)


@given(data=st.data())
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("model", ["edsr_baseline", "srresnet", "swinir"])
def test_every_tensor_is_told_once(model: str, data: Any, tmp_path: Path) -> None:
    """Any part of a network, some in another shape, some unknown: the report adds up."""
    source, network = trained(model), tiny(model)
    before, theirs = state(network), state(source)
    weights = [name for name in theirs if not re.fullmatch(network.constants, name)]
    fate = st.sampled_from(["as it is", "lost", "other shape", "renamed"])
    fates = {name: data.draw(fate, label=name) for name in theirs}
    fates[data.draw(st.sampled_from(weights), label="fits")] = "as it is"
    tensors = {}
    for name, tensor in theirs.items():
        if fates[name] == "renamed":
            tensors[name + "_"] = tensor
        elif fates[name] != "lost":
            tensors[name] = tensor if fates[name] == "as it is" else torch.ones(1, 2, 3, 4, 5)
    started = warm_start(network, model, write(tmp_path / "m.safetensors", tensors), strict=False)

    def told(*kinds: str) -> tuple[str, ...]:
        return tuple(name for name in weights if fates[name] in kinds)

    assert started.taken == len(told("as it is"))
    assert started.missing == told("lost", "renamed")
    assert started.other_shape == told("other shape")
    assert set(started.unused) == {name + "_" for name in theirs if fates[name] == "renamed"}
    assert started.other_value == ()
    after = network.state_dict()
    taken = told("as it is")
    assert all(torch.equal(after[n], (theirs if n in taken else before)[n]) for n in weights)
