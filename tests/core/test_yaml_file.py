"""Strict YAML: every trap is a fault or reads as written, and every fault says where."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from srprune.core.errors import ConfigError, InputError
from srprune.core.yaml_file import dump, load, parse


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Loose(Strict):
    """Any value under v, as the reader sees it."""

    v: Any = "unset"


class Loss(Enum):
    L1 = "l1"
    L2 = "l2"


class Select(Strict):
    rule: Literal["des", "asc", "random"] = "des"
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    offset: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def fits(self) -> Select:
        if self.ratio + self.offset > 1:
            raise ValueError(f"ratio {self.ratio} and offset {self.offset} together\nexceed 1.")
        return self


class Train(Strict):
    batch: Annotated[int, Field(ge=1, multiple_of=4)] = 16
    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    amp: bool = False
    name: str | None = None
    crop: int | None = None
    loss: Loss = Loss.L1
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    gamma: Annotated[float, Field(gt=0)] | None = None

    @field_validator("name")
    @classmethod
    def lower(cls, value: str | None) -> str | None:
        if value and value != value.lower():
            raise ValueError("use lower case")
        return value


class Edsr(Strict):
    kind: Literal["edsr"]
    depth: int = 16


class Swin(Strict):
    kind: Literal["swin"]
    window: Annotated[int, Field(ge=2)] = 8


class Set(Strict):
    name: str
    folder: Path = Path(".")


class Config(Strict):
    select: Select = Select()
    train: Train | None = None
    model: Annotated[Edsr | Swin, Field(discriminator="kind")] = Edsr(kind="edsr")
    sets: tuple[Set, ...] = ()
    weights: dict[str, Train] = {}
    extra: Annotated[Edsr | Swin, Field(discriminator="kind")] | None = None


def value(text: str) -> Any:
    return parse(f"v: {text}\n", Loose, "a.yaml").v


def faults(text: str, *overrides: str, model: type[BaseModel] = Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, model, "a.yaml", overrides)
    assert not any("\n" in fault for fault in caught.value.faults)
    return list(caught.value.faults)


# --- scalars ---


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-4", 1e-4), ("2e3", 2000.0), ("2E+3", 2000.0), (".5", 0.5), ("1.", 1.0), ("-.5", -0.5),
        ("+1.5", 1.5), (".inf", math.inf), ("-.Inf", -math.inf), ("1_000.5", 1000.5), ("0.5", 0.5),
        ("0", 0), ("-0", 0), ("10", 10), ("+7", 7), ("-7", -7), ("1_000", 1000),
        ("9" * 300, 10**300 - 1), ("1:30", "1:30"), ("2024-01-31", "2024-01-31"), ("0x10", "0x10"),
        ("true", True), ("True", True), ("TRUE", True), ("false", False), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("NULL", None), ("# remark", None),
        ("tRue", "tRue"), ("nUll", "nUll"), ("on", "on"), ("Off", "Off"), ("yes", "yes"),
        ("NO", "NO"), ("y", "y"), ("n", "n"), ("0o7", "0o7"), ("1__0", "1__0"), ("_1", "_1"),
        ("1_", "1_"), ("1e", "1e"), (".", "."), ("=", "="),
        ("inf", "inf"), ("nan", "nan"), ("1.2.3", "1.2.3"), ("'010'", "010"),
        ('"true"', "true"),
        ("'1'", "1"), ("''", ""), ("|-\n  12", "12"), ("! '12'", "12"),
        (">-\n  no\n  12", "no 12"), ("\u0663", "\u0663"),
        ("[1, 2e3, [on]]", [1, 2000.0, ["on"]]), ("{a: 1, b: {}}", {"a": 1, "b": {}}),
        ("[&a {x: 1}, *a]", [{"x": 1}, {"x": 1}]),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, meant: object) -> None:
    got = value(text)
    assert got == meant
    assert type(got) is type(meant)


def test_nan() -> None:
    assert math.isnan(value(".nan")) and math.isnan(value(".NaN"))


@pytest.mark.parametrize(
    ("text", "octal", "decimal"),
    [("010", "8", "10"), ("-010", "-8", "-10"), ("00", "0", "0"), ("0_17", "15", "17")],
)
def test_a_leading_zero_is_a_fault(text: str, octal: str, decimal: str) -> None:
    assert faults(f"a: 1\nv: {text}", model=Loose) == [
        "unknown key 'a'. Known: v. (a.yaml, line 1)",
        f"v: {text} is read as {octal} by some YAML readers and as {decimal} by others; "
        f"write {decimal}, or '{text}' in quotes for text (a.yaml, line 2).",
    ]


def test_a_leading_zero_that_cannot_be_octal() -> None:
    (fault,) = faults("v: 08", model=Loose)
    assert "08 is read as text by some YAML readers and as 8 by others" in fault


def test_a_number_too_long_for_any_use() -> None:
    assert faults("v: " + "9" * 5000, model=Loose) == [
        "v: a number of 5000 digits is too long (a.yaml, line 1)."
    ]


# --- structure ---


def test_a_duplicate_key_names_both_lines() -> None:
    text = "select:\n  rule: des\n  ratio: 0.5\n  rule: asc\n"
    assert faults(text) == [
        "key 'select.rule' stands twice, in line 2 and in line 4; keep one (a.yaml, line 4)."
    ]


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("v: 1\n<<: {v: 2}\n", "merge key <<", 2),
        ("a: &a {x: 1}\nv:\n  <<: *a\n", "merge key <<", 3),
        ("v: !custom 3\n", "tag '!custom'", 1),
        ("v:\n- 1\n- !!python/none x\n", "tag '!!python/none'", 3),
        ("v: !!str 3\n", "tag '!!str'", 1),
        ("v: 1\n1: 2\n", "a key is wrong: 1 is not text", 2),
        ("v:\n  true: 2\n", "a key in v is wrong: true is not text", 2),
        ("v:\n  ~: 2\n", "empty is not text", 2),
        ("v:\n  010: 2\n", "010 is read as 8", 2),
        ("? [a, b]\n: 2\n", "must be text, without a tag", 1),
        ("!!str a: 2\n", "must be text, without a tag", 1),
        ("v: 1\n\nw: &a [1, *a]\n", "alias of a value that it stands in", 3),
        ("v: 1\n---\nv: 2\n", "but found another document", 2),
        ("v: 1\nw: [1, 2\nx: 3\n", "not valid YAML", 3),
        ("v: 1\n\tw: 2\n", "not valid YAML", 2),
        ("v: 1\nw: *nowhere\n", "undefined alias", 2),
        ("v: 1\nw: \x07\n", "character U+0007", 2),
        ('v: 1\nw: "\\ud800"\n', "lone surrogate", 2),
    ],
)
def test_what_is_not_plain_yaml_is_a_fault(text: str, said: str, line: int) -> None:
    found = faults(text, model=Loose)
    assert any(said in fault and fault.endswith(f"(a.yaml, line {line}).") for fault in found), (
        found
    )


@pytest.mark.parametrize("text", ["[1]", "- 1\n- 2\n", "text", "12"])
def test_the_top_must_be_a_mapping(text: str) -> None:
    (fault,) = faults(text)
    assert fault.endswith("it must be a mapping (a.yaml).")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "{}", "~", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert parse(text, Config, "a.yaml") == Config()


def test_a_null_key_and_a_quoted_merge_key_are_text() -> None:
    assert value('{"": 1, "<<": 2, "1": 3}') == {"": 1, "<<": 2, "1": 3}


@pytest.mark.parametrize("depth", [101, 150, 3000])
def test_deep_nesting_is_a_fault(depth: int) -> None:
    (fault,) = faults(f"v: {'[' * depth}{']' * depth}", model=Loose)
    assert "nested" in fault


def test_nesting_within_the_limit() -> None:
    value("[" * 99 + "]" * 99)


def test_aliases_of_aliases_end_in_one_fault() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    found = faults("\n".join(lines), model=Loose)
    assert sum("are too many" in fault for fault in found) == 1


def test_an_escape_beyond_unicode() -> None:
    (fault,) = faults('v: "\\UFFFFFFFF"', model=Loose)
    assert "not valid YAML" in fault


# --- validation ---


def test_all_faults_at_once_in_the_order_of_the_lines() -> None:
    text = """\
train:
  batch: sixteen
  lr: 010
  amp: on
  crop: 2e3
  betas: [0.9, x]
  batch: 16
select:
  ratio: 1.5
  rato: 0.5
  rule: desc
sets:
  - name: Set5
  - folder: "3"
    nam: Set14
model: {kind: swin, window: 1}
"""
    assert faults(text) == [
        "train.batch is 'sixteen'; it must be a whole number (a.yaml, line 2).",
        "train.lr: 010 is read as 8 by some YAML readers and as 10 by others; "
        "write 10, or '010' in quotes for text (a.yaml, line 3).",
        "train.amp is 'on'; it must be true or false; YAML 1.2 knows true and false only "
        "(a.yaml, line 4).",
        "train.crop is 2000.0; it must be a whole number (a.yaml, line 5).",
        "train.betas.1 is 'x'; it must be a number (a.yaml, line 6).",
        "key 'train.batch' stands twice, in line 2 and in line 7; keep one (a.yaml, line 7).",
        "select.ratio is 1.5; it must be greater than 0 and at most 1 (a.yaml, line 9).",
        "unknown key 'select.rato'. Did you mean: ratio? Known: offset, ratio, rule. "
        "(a.yaml, line 10)",
        "select.rule is 'desc'; it must be one of des, asc, random (a.yaml, line 11).",
        "sets.1.name is missing; it must be given (a.yaml, line 14).",
        "unknown key 'sets.1.nam'. Did you mean: name? Known: folder, name. (a.yaml, line 15)",
        "model.window is 1; it must be at least 2 (a.yaml, line 16).",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select: 3", "select is 3; it must be a mapping (a.yaml, line 1)."),
        ("select:", "select is empty; it must be a mapping (a.yaml, line 1)."),
        ("sets: {}", "sets is a mapping; it must be a list (a.yaml, line 1)."),
        ("train: {lr: true}", "train.lr is true; it must be a number (a.yaml, line 1)."),
        ("train: {amp: 1}", "train.amp is 1; it must be true or false (a.yaml, line 1)."),
        ("train: {batch: '4'}", "train.batch is '4'; it must be a whole number (a.yaml, line 1)."),
        ("train: {name: 5}", "train.name is 5; it must be text (a.yaml, line 1)."),
        ("train: {name: X}", "train.name: use lower case (a.yaml, line 1)."),
        ("train: {loss: l3}", "train.loss is 'l3'; it must be one of l1, l2 (a.yaml, line 1)."),
        (
            "train: {batch: 6}",
            "train.batch is 6; it must be at least 1 and a multiple of 4 (a.yaml, line 1).",
        ),
        (
            "train: {workers: many}",
            "train.workers is 'many'; it must be a whole number or auto (a.yaml, line 1).",
        ),
        (
            "train: {workers: -1}",
            "train.workers is -1; it must be at least 0 or auto (a.yaml, line 1).",
        ),
        ("extra: {kind: edsr, depth: x}", "extra.depth is 'x'; it must be a whole number (a.yaml"),
        ("train: {gamma: 0}", "train.gamma is 0; it must be greater than 0 (a.yaml, line 1)."),
        ("model: {kind: rcan}", "model.kind is 'rcan'; it must be one of edsr, swin (a.yaml"),
        ("model:\n  depth: 3", "model.kind is missing; it must be given (a.yaml, line 1)."),
        (
            "model: {kind: edsr, window: 8}",
            "unknown key 'model.window'. Did you mean: kind? Known: depth, kind. (a.yaml, line 1)",
        ),
        (
            "weights:\n  a:\n    bach: 4",
            "unknown key 'weights.a.bach'. Did you mean: batch? Known: amp, batch, betas, crop, "
            "gamma, loss, lr, name, workers. (a.yaml, line 3)",
        ),
        (
            "\nselect:\n  ratio: 0.98\n  offset: 0.05\n",
            "select: ratio 0.98 and offset 0.05 together exceed 1 (a.yaml, line 2).",
        ),
        ('"a\\nb": 1', "unknown key 'a\\nb'."),
        (f"train: {{crop: {'x' * 99}}}", f"train.crop is '{'x' * 56}...; it must be a whole"),
    ],
)
def test_fault_of_the_model(text: str, said: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(said)


class Unions(Strict):
    """Shapes of unions, and faults that pydantic words."""

    either: Annotated[Edsr | Swin, Field(discriminator="kind")] | int = 1
    items: Annotated[list[int] | str, Field(min_length=1)] = "x"
    finite: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    row: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("either: {kind: swin, window: x}", "either.window is 'x'; it must be a whole number"),
        ("either: {kind: x}", "either.kind is 'x'; it must be one of edsr, swin"),
        ("either: x", "either is 'x'; it must be a mapping or a whole number"),
        ("items: [1, x]", "items.1 is 'x'; it must be a whole number"),
        ("items: 3", "items is 3; it must be a list or text"),
        ("finite: .inf", "finite is inf; it must be a finite number"),
        ("row: []", "row is a list; it must have at least 1 item"),
    ],
)
def test_fault_in_a_union_is_told_once(text: str, fault: str) -> None:
    assert faults(text, model=Unions) == [f"{fault} (a.yaml, line 1)."]


def test_a_missing_key_of_the_top_names_the_file() -> None:
    assert faults("", model=Set) == ["name is missing; it must be given (a.yaml)."]


def test_a_value_that_cannot_be_read_has_no_second_fault() -> None:
    (fault,) = faults("select:\n  ratio: 010\n  offset: 0.9\n")
    assert "010 is read as 8" in fault


def test_whole_numbers_and_lists_do_for_floats_and_tuples() -> None:
    config = parse("train: {lr: 1, betas: [0, 1], loss: l2}\nsets: [{name: a}]", Config, "a.yaml")
    assert config.train is not None
    assert config.train.lr == 1.0 and isinstance(config.train.lr, float)
    assert config.train.betas == (0.0, 1.0) and config.train.loss is Loss.L2
    assert config.sets == (Set(name="a"),)


# --- overrides ---


def test_overrides_are_typed_and_the_last_wins() -> None:
    text = "train:\n  batch: 8\nsets:\n- name: a\n- name: b\n"
    overrides = [
        "train.batch=12", "train.batch=4", "train.lr=1e-4", "train.amp=true", "train.name='on'",
        "train.betas=[0, 0.5]", "sets.1.name=c=d", "weights.x={crop: 3}", "train.crop=",
        "weights.x.batch=8", "model.kind=swin", "model.window=4",
    ]  # fmt: skip
    config = parse(text, Config, "a.yaml", overrides)
    assert config.train == Train(batch=4, lr=1e-4, amp=True, name="on", betas=(0.0, 0.5), crop=None)
    assert [each.name for each in config.sets] == ["a", "c=d"]
    assert config.weights == {"x": Train(crop=3, batch=8)}
    assert config.model == Swin(kind="swin", window=4)


def test_an_override_mends_a_value_of_the_file() -> None:
    assert parse("select:\n  ratio: 7\n", Config, "a", ["select.ratio=1"]).select.ratio == 1.0
    assert parse("train: 7\n", Config, "a", ["train={batch: 8}"]).train == Train(batch=8)


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("select.ratio=2", "select.ratio is 2; it must be greater than 0 and at most 1"),
        ("select.rato=1", "unknown key 'select.rato'. Did you mean: ratio? "),
        ("train.amp=on", "train.amp is 'on'; it must be true or false; YAML 1.2 knows"),
        ("train.crop=010", "train.crop: 010 is read as 8"),
        ("train=[1", "this is not valid YAML: "),
        ("train={batch: 4, batch: 8}", "key 'train.batch' stands twice, "),
        ("sets.2.name=x", "sets is a list of 1; it has no place '2' to set"),
        ("sets.-1.name=x", "sets is a list of 1; it has no place '-1' to set"),
        ("sets.0.name.x=y", "sets.0.name is 'a'; it has no place 'x' to set"),
        ("sets.0={}", "sets.0.name is missing; it must be given"),
        ("select", "'select' is not a setting; it must be of the form a.b=value"),
        ("a..b=1", "'a..b=1' is not a setting; it must be of the form a.b=value"),
        ("=1", "'=1' is not a setting; it must be of the form a.b=value"),
        ("a=!x 1", "a has the tag '!x'"),
    ],
)
def test_a_fault_of_an_override_names_it(override: str, fault: str) -> None:
    (found,) = faults("sets: [{name: a}]", override)
    assert found.startswith(fault)
    assert found.removesuffix(".").endswith(f" (--set {override})")


def test_faults_of_file_and_overrides_come_together_in_order() -> None:
    found = faults("select:\n  ratio: 3\n", "train.batch=x", "oops", "select.rule=z")
    assert [fault.rpartition("(")[2] for fault in found] == [
        "a.yaml, line 2).",
        "--set train.batch=x).",
        "--set oops).",
        "--set select.rule=z).",
    ]


def test_a_path_of_an_override_that_is_too_deep() -> None:
    (fault,) = faults("", "v." + "a." * 300 + "b=1", model=Loose)
    assert "nested deeper" in fault


# --- files ---


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("train:\n  name: gr\xfcn\n  batch: x\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, Config)
    assert caught.value.faults == (
        f"train.batch is 'x'; it must be a whole number ({path}, line 3).",
    )
    train = load(path, Config, ["train.batch=4"]).train
    assert train is not None and train.name == "gr\xfcn"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: gr\xfcn".encode("latin-1"))
    for path in (tmp_path, tmp_path / "none.yaml", latin, Path("a\0b.yaml")):
        with pytest.raises(InputError) as caught:
            load(path, Config)
        assert type(caught.value) is InputError
        assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


# --- properties ---

TEXTS = st.one_of(
    st.text(),
    st.from_regex(r"[-+]?[0-9_.]{0,6}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["010", "1e-4", "1:30", "on", "~", "null", "<<", "=", "- a", "a: b", "# c"]),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS


class Holder(Strict):
    text: str
    number: float
    whole: int
    table: dict[str, bool | int | float | str | None]
    row: tuple[str, ...]
    loss: Loss


@given(
    TEXTS,
    st.floats(allow_nan=False),
    st.integers(-(10**200), 10**200),
    st.dictionaries(TEXTS, SCALARS, max_size=3),
    st.lists(TEXTS, max_size=3),
    st.sampled_from(Loss),
)
@example("\x85\u2028\ufeff ", 1e16, 0, {"\n": " a\n b "}, ["a" * 300 + " b" * 90], Loss.L1)
def test_round_trip(
    text: str, number: float, whole: int, table: dict[str, Any], row: list[str], loss: Loss
) -> None:
    holder = Holder(text=text, number=number, whole=whole, table=table, row=tuple(row), loss=loss)
    again = parse(dump(holder), Holder, "dump.yaml")
    assert again == holder
    assert [type(each) for each in again.table.values()] == [type(each) for each in table.values()]


def test_dump_of_a_whole_config() -> None:
    config = Config(train=Train(lr=1e-5, name="no"), sets=(Set(name="a"), Set(name="a")))
    text = dump(config)
    assert parse(text, Config, "dump.yaml") == config
    assert text.startswith("select:\n  rule: des\n  ratio: 0.5\n")


PIECES = (
    *"[]{}:,-?&*!|>'\"%@`#~ \n\t.<=0189aeyn_\\xuU",
    *("---", ": ", "\n  ", "- ", "&a ", "*a", "!!int ", "? ", "select", "train", "v: ", "\r"),
    *("%YAML ", "%TAG "),
)
MARKS = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.text() | MARKS, st.lists(st.text() | MARKS.map("train.".__add__), max_size=2))
@example('v: "\\UFFFFFFFF"', ["a=\udcff"])
@example("%YAML 1." + "1" * 5000, [])
@example("v: \ud800", ["\udcff=1", "train=[[]"])
def test_any_text_gives_a_config_or_faults(text: str, overrides: list[str]) -> None:
    for model in (Config, Loose):
        try:
            parse(text, model, "a.yaml", overrides)
        except ConfigError as error:
            assert error.faults
            assert all(len(fault.splitlines()) == 1 for fault in error.faults)
