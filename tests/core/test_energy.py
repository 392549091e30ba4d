"""Counters of energy, read from files as the kernel shows them."""

from __future__ import annotations

import pytest

from srprune.core.energy import EnergyMeter


def zone(folder, name, energy, span=1_000_000):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{energy}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{span}\n")


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    zone(tmp_path, "intel-rapl:0", 100)
    zone(tmp_path, "intel-rapl:1", 500)
    zone(tmp_path, "intel-rapl:0:0", 7)
    meter = EnergyMeter(tmp_path, gpus=False)
    zone(tmp_path, "intel-rapl:0", 2_000_100, span=10**9)
    zone(tmp_path, "intel-rapl:1", 1_000_500)
    zone(tmp_path, "intel-rapl:0:0", 900_000)
    assert meter.joules() == pytest.approx(3.0)


def test_a_counter_that_starts_anew_is_followed(tmp_path):
    zone(tmp_path, "intel-rapl:0", 900_000)
    meter = EnergyMeter(tmp_path, gpus=False)
    zone(tmp_path, "intel-rapl:0", 100_000)
    assert meter.joules() == pytest.approx(0.2)


def test_a_counter_that_starts_anew_many_times_is_followed_while_it_is_watched(tmp_path):
    zone(tmp_path, "intel-rapl:0", 0)
    meter, seen = EnergyMeter(tmp_path, gpus=False), []
    progress = meter.watching(lambda label, done, total, note="": seen.append(done), every_s=0)
    for step in range(1, 51):  # 0.3 J each, so that it starts anew 15 times
        zone(tmp_path, "intel-rapl:0", 300_000 * step % 1_000_000)
        progress("train", step, 50)
    assert meter.joules() == pytest.approx(15.0)
    assert seen == list(range(1, 51))


def test_the_whole_board_is_not_added_to_the_packages_on_it(tmp_path):
    zone(tmp_path, "intel-rapl:0", 0)
    zone(tmp_path, "intel-rapl:1", 0)
    (tmp_path / "intel-rapl:0" / "name").write_text("package-0\n")
    (tmp_path / "intel-rapl:1" / "name").write_text("psys\n")
    meter = EnergyMeter(tmp_path, gpus=False)
    zone(tmp_path, "intel-rapl:0", 500_000)
    zone(tmp_path, "intel-rapl:1", 900_000)
    assert meter.joules() == pytest.approx(0.5)


def test_without_a_counter_there_is_no_figure(tmp_path):
    assert EnergyMeter(tmp_path, gpus=False).joules() is None
    (tmp_path / "intel-rapl:0").mkdir()  # a counter that only root may read
    assert EnergyMeter(tmp_path, gpus=False).joules() is None
