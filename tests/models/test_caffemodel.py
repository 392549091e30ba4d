"""Reading Caffe's weights: what a small protobuf encoder wrote, and every kind of damage."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srprune.core.errors import ArtifactError, MissingArtifact
from srprune.models.caffemodel import read_caffemodel
from srprune.models.idn import IDN

VALUES = [1.0, -2.5, 3.25, 0.0, 1e-30, 6.0]


def varint(value: int) -> bytes:
    value %= 2**64  # negative numbers as protobuf writes them
    low = bytearray()
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def nested(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def fixed(field: int, content: bytes) -> bytes:
    return varint(field << 3 | {4: 5, 8: 1}[len(content)]) + content


def floats(values: list[float]) -> bytes:
    return nested(5, struct.pack(f"<{len(values)}f", *values))


def shaped(*dims: int) -> bytes:
    return nested(7, nested(1, b"".join(map(varint, dims))))


def layer(name: str | bytes, *blobs: bytes) -> bytes:
    raw = name if isinstance(name, bytes) else name.encode()
    return nested(100, nested(1, raw) + b"".join(nested(7, blob) for blob in blobs))


def blob(tensor: Tensor) -> bytes:
    return shaped(*tensor.shape) + floats(tensor.flatten().tolist())


SOUND = layer("one", shaped(2, 3) + floats(VALUES), shaped(2) + floats([7.0, 8.0])) + layer(
    "two", shaped(1, 1) + floats([9.0])
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caffe") / "net.caffemodel"


def read(file: Path, content: bytes) -> dict[str, Tensor]:
    file.write_bytes(content)
    return read_caffemodel(file)


def read_or_refuse(file: Path, content: bytes) -> dict[str, Tensor] | None:
    """Tensors, or None if the content was refused as it should be."""
    try:
        tensors = read(file, content)
    except ArtifactError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)
        return None
    assert tensors
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    return tensors


def test_blobs_are_the_weight_and_the_bias_of_their_layer(file: Path) -> None:
    tensors = read(file, SOUND)
    assert list(tensors) == ["one.weight", "one.bias", "two.weight"]
    assert torch.equal(tensors["one.weight"], torch.tensor(VALUES).reshape(2, 3))
    assert torch.equal(tensors["one.bias"], torch.tensor([7.0, 8.0]))
    tensors["one.weight"] += 1  # its own memory, and it may be written


@pytest.mark.parametrize("scale", [2, 4])
def test_a_whole_network_through_a_file(file: Path, scale: int) -> None:
    torch.manual_seed(0)
    network = IDN(scale=scale, width=1)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = network.state_dict()
    (naming,) = IDN.namings

    def ours(name: str) -> str:
        matches = [(re.fullmatch(theirs, name), to) for theirs, to in naming.pairs]
        (found,) = [match.expand(to) for match, to in matches if match]
        return found

    layers = ["conv1", "conv2"]
    for i in (1, 2, 3, 4):
        layers += [f"conv{i + 2}_{j}" for j in range(1, 7)] + [f"down{i}"]
    content = nested(1, b"IDN") + layer("data")
    for name in [*layers, "upsample"]:
        blobs = [blob(state[ours(f"{name}.{role}")]) for role in ("weight", "bias")]
        content += layer(name, *blobs) + layer(f"relu_{name}")

    again = IDN(scale=scale, width=1)
    again.load_state_dict({ours(name): t for name, t in read(file, content).items()})
    x = torch.rand(1, 1, 5, 6)
    with torch.inference_mode():
        assert torch.equal(again(x), network(x))


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (shaped(6) + b"".join(fixed(5, struct.pack("<f", v)) for v in VALUES), (6,)),
        (floats(VALUES[:2]) + shaped(6) + floats(VALUES[2:]), (6,)),
        (shaped(2, 3) + nested(8, struct.pack("<6d", *VALUES)), (2, 3)),
        (shaped(6) + b"".join(fixed(8, struct.pack("<d", v)) for v in VALUES), (6,)),
        (nested(7, number(1, 3) + number(1, 2)) + floats(VALUES), (3, 2)),
        (shaped(3) + floats(VALUES) + shaped(2), (3, 2)),
        (number(1, 3) + number(2, 1) + number(3, 2) + number(4, 1) + floats(VALUES), (3, 1, 2, 1)),
        (shaped(1, 6) + floats(VALUES) + nested(6, b"\0" * 24), (1, 6)),
    ],
    ids=[
        "unpacked",
        "in parts",
        "doubles",
        "unpacked doubles",
        "unpacked dims",
        "shape in parts",
        "old",
        "diff",
    ],
)
def test_the_same_values_in_other_forms(file: Path, content: bytes, shape: tuple[int, ...]) -> None:
    assert torch.equal(
        read(file, layer("x", content))["x.weight"], torch.tensor(VALUES).reshape(shape)
    )


def test_a_bias_has_one_axis_though_old_files_give_it_four(file: Path) -> None:
    four = number(1, 1) + number(2, 1) + number(3, 1) + number(4, 6) + floats(VALUES)
    tensors = read(file, layer("x", four, four))
    assert (tensors["x.weight"].shape, tensors["x.bias"].shape) == ((1, 1, 1, 6), (6,))


def test_further_blobs_are_not_lost(file: Path) -> None:
    one = shaped(1) + floats([4.0])
    assert list(read(file, layer("bn", one, one, one))) == ["bn.weight", "bn.bias", "bn.blob2"]


def test_unknown_fields_are_passed_over(file: Path) -> None:
    noise = number(9, 2**63) + nested(11, b"anything") + fixed(12, b"1234") + fixed(13, b"12345678")
    content = noise + nested(
        100, noise + nested(1, b"x") + nested(7, noise + shaped(1) + floats([5.0]) + noise)
    )
    assert read(file, content + noise)["x.weight"].tolist() == [5.0]


def test_a_double_that_no_float_holds_becomes_infinite(file: Path) -> None:
    content = layer("x", shaped(1) + nested(8, struct.pack("<d", 1e300)))
    assert read(file, content)["x.weight"].tolist() == [float("inf")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        layer("data"),
        nested(2, nested(4, b"conv1") + nested(6, shaped(1) + floats([1.0]))),
        b"name: 'a net in text form'",
        b"\xff" * 40,
        b"\xff" * 9,
        varint(100 << 3 | 2) + varint(2**63) + b"x",
        varint(100 << 3 | 3),
        layer(b"\xff\xfe", shaped(1) + floats([1.0])),
        layer("", shaped(1) + floats([1.0])),
        SOUND + layer("one", shaped(1) + floats([1.0])),
        layer("x", floats(VALUES)),
        layer("x", shaped(6)),
        layer("x", shaped(0)),
        layer("x", shaped(2, 2) + floats(VALUES)),
        layer("x", shaped(-1, -6) + floats(VALUES)),
        layer("x", shaped(2**40, 2**40) + floats(VALUES)),
        layer("x", shaped(*[1] * 33) + floats([1.0])),
        layer("x", number(1, 6) + floats(VALUES)),
        layer("x", shaped(1) + nested(5, b"12345")),
        layer("x", nested(7, nested(1, b"\x80")) + floats([1.0])),
    ],
    ids=[
        "empty",
        "no weights",
        "the format before layers had field 100",
        "text",
        "number without end",
        "file ends in a number",
        "length beyond the end",
        "group",
        "name not UTF-8",
        "no name",
        "twice",
        "no shape",
        "no values",
        "nothing at all",
        "too few",
        "negative",
        "enormous",
        "too many axes",
        "old shape incomplete",
        "half a value",
        "dim cut short",
    ],
)
def test_damage_is_one_line_that_names_the_file(file: Path, content: bytes) -> None:
    assert read_or_refuse(file, content) is None


def test_error_says_what_is_wrong(file: Path) -> None:
    with pytest.raises(ArtifactError, match=r"a blob ends within a value"):
        read(file, layer("x", shaped(1) + nested(5, b"12345")))
    with pytest.raises(ArtifactError, match=r"a blob of 6 values has another shape"):
        read(file, layer("x", shaped(2, 2) + floats(VALUES)))


def test_very_many_axes_are_refused_at_once(file: Path) -> None:
    """Their product alone would take hours."""
    assert read_or_refuse(file, layer("x", shaped(*[2**63 - 1] * 300_000) + floats([1.0]))) is None


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="nowhere"):
        read_caffemodel(tmp_path / "nowhere.caffemodel")
    with pytest.raises(MissingArtifact):
        read_caffemodel(tmp_path)


def test_cut_anywhere_but_between_layers_is_refused(file: Path) -> None:
    whole = read(file, SOUND)
    first = {name: whole[name] for name in ("one.weight", "one.bias")}
    between = len(SOUND) - len(layer("two", shaped(1, 1) + floats([9.0])))
    for length in range(len(SOUND)):
        tensors = read_or_refuse(file, SOUND[:length])
        if length == between:
            assert tensors is not None
            assert tensors.keys() == first.keys()
        else:
            assert tensors is None


@settings(deadline=None, max_examples=300)
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(SOUND) - 1), st.integers(1, 255)), min_size=1, max_size=6
    )
)
def test_changed_bytes_give_tensors_or_an_error_of_ours(
    file: Path, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(SOUND)
    for at, mask in flips:
        content[at] ^= mask
    read_or_refuse(file, bytes(content))


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=80), within=st.sampled_from(["file", "layer", "blob"]))
def test_any_bytes_give_tensors_or_an_error_of_ours(
    file: Path, content: bytes, within: str
) -> None:
    if within == "layer":
        content = nested(100, nested(1, b"x") + content)
    elif within == "blob":
        content = layer("x", content)
    read_or_refuse(file, content)
