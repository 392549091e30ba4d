"""SwinIR: published counts, official names, its windows, and both ways of attention."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from srprune.models import paths  # noqa: E402
from srprune.models.build import parameter_count  # noqa: E402
from srprune.models.swinir import SwinIR, SwinIRLight  # noqa: E402

TINY = {"embed_dim": 12, "groups": 2, "depth": 2, "heads": 3, "img_size": 16}
KINDS = (SwinIR, SwinIRLight)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def tiny(kind: Any, scale: int = 2, seed: int = 0, **args: Any) -> Any:
    torch.manual_seed(seed)
    return kind(scale=scale, **TINY | args).eval()


# Counted from the official code's layers; the paper prints 11.8M, and 878K, 886K, 897K for the
# lightweight one, 32,460 (a 60 -> 60 conv) short of what is released.
@pytest.mark.parametrize(
    ("kind", "scale", "count"),
    [
        (SwinIR, 2, 11_752_487),
        (SwinIR, 3, 11_937_127),
        (SwinIR, 4, 11_900_199),
        (SwinIRLight, 2, 910_152),
        (SwinIRLight, 3, 918_267),
        (SwinIRLight, 4, 929_628),
    ],
)
def test_parameters_are_those_published(kind: Any, scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(kind(scale=scale)) == count


@pytest.mark.parametrize(("scale", "tensors"), [(2, 548), (3, 548), (4, 550)])
def test_tensor_names_are_the_official_ones(scale: int, tensors: int) -> None:
    with torch.device("meta"):
        names = set(SwinIR(scale=scale).state_dict())
    assert len(names) == tensors
    block = "layers.5.residual_group.blocks"
    odd = {f"{block}.5.{name}" for name in ("attn_mask", "attn.relative_position_index")}
    pairs = [f"{block}.0.{m}" for m in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1")]
    pairs += ["conv_first", "patch_embed.norm", "layers.0.conv", "norm", "conv_after_body"]
    pairs += ["conv_before_upsample.0", "upsample.0", "conv_last", f"{block}.3.mlp.fc2"]
    both = {f"{name}.{kind}" for name in pairs for kind in ("weight", "bias")}
    assert both | odd | {f"{block}.2.attn.relative_position_bias_table"} <= names
    assert f"{block}.4.attn_mask" not in names
    assert ("upsample.2.weight" in names) == (scale == 4)


@every_kind
@pytest.mark.parametrize("side", [48, 64])
def test_masks_have_the_official_size(kind: Any, side: int) -> None:
    state = tiny(kind, img_size=side).state_dict()
    mask = state["layers.0.residual_group.blocks.1.attn_mask"]
    assert mask.shape == ((side // 8) ** 2, 64, 64)
    assert set(mask.unique().tolist()) == {-100.0, 0.0}


@every_kind
@every_scale
@pytest.mark.parametrize("size", [(5, 5), (8, 8), (8, 17), (23, 16), (31, 9)])
def test_any_size_from_five_pixels(kind: Any, scale: int, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        y = tiny(kind, scale)(torch.rand(2, 3, *size))
    assert y.shape == (2, 3, size[0] * scale, size[1] * scale)


@every_kind
@pytest.mark.parametrize("size", [(8, 8), (8, 24), (24, 8), (21, 30), (16, 16)])
def test_fused_and_explicit_attention_agree(
    kind: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny(kind)
    for table in (p for n, p in network.named_parameters() if n.endswith("bias_table")):
        torch.nn.init.normal_(table)  # so that a bias in the wrong place shows
    x = torch.rand(3, 3, *size)
    asked = []
    measured = paths.fused_attention
    monkeypatch.setattr(
        paths, "fused_attention", lambda *a: asked.append(measured(*a)) or asked[-1]
    )
    with torch.inference_mode():
        fused = network(x)
    explicit = network(x)
    assert set(asked[: len(asked) // 2]) == {True}
    assert set(asked[len(asked) // 2 :]) == {False}
    assert torch.allclose(fused, explicit, rtol=0, atol=1e-5)


def attention_by_hand(layer: Any, windows_WNC: Any, mask_NN: Any = None) -> Any:
    """Window attention with loops: Liu et al. 2021, equation 4."""
    out = torch.zeros_like(windows_WNC)
    dim = windows_WNC.shape[-1] // layer.heads
    table = layer.relative_position_bias_table
    for w, window in enumerate(windows_WNC):
        q, k, v = layer.qkv(window).chunk(3, dim=-1)
        for head in range(layer.heads):
            part = slice(head * dim, (head + 1) * dim)
            logits = q[:, part] @ k[:, part].T / dim**0.5
            for i in range(64):
                for j in range(64):
                    dy, dx = i // 8 - j // 8 + 7, i % 8 - j % 8 + 7
                    logits[i, j] = logits[i, j] + table[dy * 15 + dx, head]
            if mask_NN is not None:
                logits = logits + mask_NN
            out[w, :, part] = logits.softmax(-1) @ v[:, part]
    return layer.proj(out)


def test_a_window_attends_as_the_paper_says() -> None:
    network = tiny(SwinIR).double()
    layer = network.layers[0].residual_group["blocks"][0].attn
    torch.nn.init.normal_(layer.relative_position_bias_table)
    x = torch.rand(1, 8, 16, 12, dtype=torch.float64)
    with torch.inference_mode():
        found = layer(x, None)
        windows = torch.stack([x[0, :, :8].reshape(64, 12), x[0, :, 8:].reshape(64, 12)])
        wanted = attention_by_hand(layer, windows).view(2, 8, 8, 12)
    assert torch.allclose(found[0, :, :8], wanted[0], rtol=0, atol=1e-12)
    assert torch.allclose(found[0, :, 8:], wanted[1], rtol=0, atol=1e-12)


def test_shifted_windows_do_not_join_opposite_ends_of_the_image() -> None:
    block = tiny(SwinIR).double().layers[0].residual_group["blocks"][1]
    x = torch.rand(1, 16, 16, 12, dtype=torch.float64, requires_grad=True)
    block(x)[0, 0, 5].sum().backward()  # in the top row, which the shift puts beside the bottom one
    seen = x.grad[0].abs().sum(-1) > 1e-30
    assert seen[:4, 4:12].all()  # its own part of the shifted window
    assert not seen[4:].any()
    assert not seen[:, :4].any()
    assert not seen[:, 12:].any()


@every_kind
@pytest.mark.parametrize("side", [8, 16])
def test_one_window_is_not_shifted_in_training_size(kind: Any, side: int) -> None:
    """As in the official code: with crops of one window there is nothing to shift."""
    state = tiny(kind, img_size=side).state_dict()
    assert any(name.endswith("attn_mask") for name in state) == (side > 8)


@every_kind
@every_scale
def test_rim_bounds_what_zero_padding_spoils(kind: Any, scale: int) -> None:
    network = tiny(kind, scale, depth=1, groups=1).double()
    rim = network.rim
    image = torch.rand(1, 3, 80, 80, dtype=torch.float64)
    top = left = 16  # windows keep their places
    with torch.inference_mode():
        alone = network(image[:, :, top : top + 48, left : left + 48])
        within = network(image)[:, :, top * scale :, left * scale :][
            ..., : 48 * scale, : 48 * scale
        ]
    apart = (alone - within).abs()[0].amax(0)
    assert apart[rim:-rim, rim:-rim].max() < 1e-12
    inner = rim - 8 * scale  # a window less would not do
    assert apart[inner:-inner, inner:-inner].max() > 1e-12


@every_kind
@every_scale
@pytest.mark.parametrize("args", [{}, {"groups": 1, "depth": 3, "heads": 2, "mlp_ratio": 3}])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_tensors_tell_the_arguments(
    kind: Any, scale: int, args: dict[str, int], channels: str
) -> None:
    given = {**TINY, **args, "channels": channels}
    with torch.device("meta"):
        state = kind(scale=scale, **given).state_dict()
    depth_one = {"img_size"} if given["depth"] == 1 else set()
    wanted = {"scale": scale, "mlp_ratio": 2, **given}
    assert kind.arguments_of(state) == {n: v for n, v in wanted.items() if n not in depth_one}
    other = SwinIR if kind is SwinIRLight else SwinIRLight
    with pytest.raises(KeyError):
        other.arguments_of(state)


def test_another_window_is_another_network() -> None:
    state = tiny(SwinIR).state_dict()
    name = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"
    state[name] = torch.zeros(13**2, 3)
    with pytest.raises(KeyError):
        SwinIR.arguments_of(state)


def test_first_weights() -> None:
    torch.manual_seed(0)
    network = SwinIRLight(scale=2)
    weights = torch.cat(
        [m.weight.flatten() for m in network.modules() if isinstance(m, torch.nn.Linear)]
    )
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert weights.abs().max() <= 2
    assert not any(m.bias.any() for m in network.modules() if isinstance(m, torch.nn.Linear))
    norms = [m for m in network.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * 24 + 2
    assert all((m.weight == 1).all() and not m.bias.any() for m in norms)


def test_stochastic_depth_rises_to_a_tenth_and_ends_with_training() -> None:
    network = tiny(SwinIR)
    rates = [b.drop_path for layer in network.layers for b in layer.residual_group["blocks"]]
    assert rates == pytest.approx([0, 0.1 / 3, 0.2 / 3, 0.1])
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        network.train()
        torch.manual_seed(1)
        outputs = torch.stack([network(x) for _ in range(40)])
    assert len(outputs.unique(dim=0)) > 1


def test_mean_colour_is_taken_off_and_put_back() -> None:
    network = tiny(SwinIR)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.inference_mode():
        y = network(torch.rand(1, 3, 8, 8))
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    assert torch.allclose(y, mean.expand(1, 3, 16, 16))


@pytest.mark.parametrize("args", [{"heads": 5}, {"img_size": 20}])
def test_arguments_that_do_not_go_together(args: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(args)))):
        tiny(SwinIR, **args)


@every_kind
@every_scale
def test_spandrel_reads_what_we_write_and_the_reverse(kind: Any, scale: int) -> None:
    spandrel = pytest.importorskip("spandrel")
    network = tiny(kind, scale)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with warnings.catch_warnings(action="ignore"):  # of spandrel's own code
        other = spandrel.ModelLoader().load_from_state_dict(state).model.eval()
    x = torch.rand(1, 3, 21, 30)
    with torch.inference_mode():
        assert torch.allclose(network(x), other(x), rtol=0, atol=1e-5)
    again = tiny(kind, scale, seed=1)
    again.load_state_dict(other.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.allclose(again(x), other(x), rtol=0, atol=1e-5)


@every_kind
def test_gradients_are_those_of_the_explicit_way(kind: Any) -> None:
    """Of every parameter, the bias tables included: a small step goes down as it promises."""
    network = tiny(kind).double()
    x, target = torch.rand(1, 3, 9, 9).double(), torch.rand(1, 3, 18, 18).double()
    loss = F.mse_loss(network(x), target)
    loss.backward()
    norm2 = sum((p.grad**2).sum() for p in network.parameters())
    step = 1e-7
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= step * parameter.grad
        after = F.mse_loss(network(x), target)
    assert ((loss - after) / step / norm2).item() == pytest.approx(1, rel=1e-3)
