"""DiffFit: factors that change nothing at first, and what trains beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
from diffusers import DiTTransformer2DModel  # noqa: E402

from srprune.distill.config import NetworkConfig  # noqa: E402
from srprune.distill.denoiser import Denoiser, Noisy  # noqa: E402
from srprune.distill.difffit import add_factors, mark_difffit  # noqa: E402

WITH = NetworkConfig(layers=4, heads=2, head_width=8, difffit=True)
WITHOUT = WITH.model_copy(update={"difffit": False})
QUESTION = Noisy(
    torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3)),
    torch.tensor([0, 500, 999]),
    torch.tensor([0, 1, 2]),
)


def denoiser(config: NetworkConfig = WITH) -> Denoiser:
    """With weights of which none is 0, as pre-trained ones are."""
    torch.manual_seed(1)
    network = Denoiser(config, side=8, channels=4, categories=3)
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith(".gamma"):
                parameter.add_(torch.randn(parameter.shape, generator=chance) * 0.2)
    return network


def gammas(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p for n, p in network.named_parameters() if n.endswith(".gamma")}


def test_factors_of_1_change_nothing() -> None:
    plain, scaled = denoiser(WITHOUT), denoiser()
    assert torch.equal(plain(QUESTION), scaled(QUESTION))
    added = gammas(scaled)
    assert all(torch.equal(gamma, torch.ones_like(gamma)) for gamma in added.values())
    assert scaled.state_dict().keys() - plain.state_dict().keys() == added.keys()
    assert not plain.state_dict().keys() - scaled.state_dict().keys()


def test_factors_are_in_the_first_half_of_the_blocks_under_these_names() -> None:
    """The names are those of files: they stay."""
    places = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn1.to_out.1",
              "ff.net.3")  # fmt: skip
    assert set(gammas(denoiser())) == {
        f"transformer.transformer_blocks.{block}.{place}.gamma"
        for block in (0, 1)
        for place in places
    }


@pytest.mark.parametrize("place", ["to_q", "to_k", "to_v", "to_out.0", "to_out.1", "ff"])
def test_a_factor_scales_its_layer(place: str) -> None:
    """A gamma of 2 is twice the weight and bias of the layer that it stands behind."""
    scaled, doubled = denoiser(), denoiser()
    layer = {"to_out.1": "attn1.to_out.0", "ff": "ff.net.2"}.get(place, f"attn1.{place}")
    gamma = {"ff": "ff.net.3"}.get(place, f"attn1.{place}")
    block = "transformer.transformer_blocks.1."
    with torch.no_grad():
        scaled.get_parameter(f"{block}{gamma}.gamma").fill_(2)
        doubled.get_parameter(f"{block}{layer}.weight").mul_(2)
        doubled.get_parameter(f"{block}{layer}.bias").mul_(2)
    found = scaled(QUESTION).detach()
    torch.testing.assert_close(found, doubled(QUESTION).detach(), rtol=1e-5, atol=1e-5)
    assert float((found - denoiser()(QUESTION)).detach().abs().max()) > 1e-3


def test_biases_labels_and_factors_train() -> None:
    network = denoiser()
    share = mark_difffit(network)
    network(QUESTION).square().mean().backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, parameter in network.named_parameters():
        published = name.endswith(("bias", "gamma", "class_embedder.embedding_table.weight"))
        assert (name in trained) == published, name
        assert (parameter.grad is not None) == published, name
    assert all(bool(gamma.grad.any()) for gamma in gammas(network).values())
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    assert share == sum(counts[name] for name in trained) / sum(counts.values())
    assert "transformer.transformer_blocks.0.norm1.linear.bias" in trained  # adaLN
    assert "transformer.transformer_blocks.0.norm1.linear.weight" not in trained


def test_how_much_of_dit_xl_2_trains() -> None:
    """Biases of every layer, 28 tables of 7 labels and none, 14 x 6 x 1152 factors."""
    with torch.device("meta"):
        network = Denoiser(NetworkConfig(difffit=True), side=64, channels=4, categories=7)
    share = mark_difffit(network)
    assert sum(gamma.numel() for gamma in gammas(network).values()) == 14 * 6 * 1152
    # adaLN; queries, keys and values; projection; MLP; embedding of timesteps; labels
    by_block = (6 + 3 + 1 + (4 + 1) + (1 + 1) + 8) * 1152
    biases_and_labels = 28 * by_block + 1152 + 2 * 1152 + 16
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == 14 * 6 * 1152 + biases_and_labels
    assert share == pytest.approx(0.0013, abs=0.0001)


def test_weights_with_factors_are_read_again() -> None:
    network = denoiser()
    with torch.no_grad():
        for gamma in gammas(network).values():
            gamma.add_(torch.randn(gamma.shape) * 0.1)
    again = Denoiser(WITH, side=8, channels=4, categories=3)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(QUESTION), network(QUESTION))


def test_pre_trained_weights_get_factors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = DiTTransformer2DModel(
        num_layers=3,
        num_attention_heads=2,
        attention_head_dim=8,
        num_embeds_ada_norm=3,
        sample_size=8,
        norm_eps=1e-6,
    )
    theirs.save_pretrained(tmp_path)
    config = NetworkConfig(weights=str(tmp_path), difffit=True)
    network = Denoiser.pretrained(config, side=8, channels=4, categories=3)
    expected = theirs.eval()(*QUESTION).sample
    torch.testing.assert_close(network(QUESTION), expected, rtol=1e-5, atol=1e-5)
    assert len(gammas(network)) == 6  # one of three blocks
    add_factors(theirs)
    assert torch.equal(theirs(*QUESTION).sample, expected)
