"""extract: what it notes beside the patches."""

from __future__ import annotations

from dataclasses import dataclass

from srprune.stages.extract import _same_content


@dataclass
class Counted:
    """An image that counts how often it is looked at."""

    path: str
    pixels: str
    looks: int = 0

    @property
    def content(self) -> str:
        self.looks += 1
        return self.pixels


def test_images_of_equal_pixels_are_told_in_one_pass() -> None:
    images = [Counted(f"{i}.png", str(i % 5 if i < 12 else i)) for i in range(20)]
    assert _same_content(images) == [
        ["0.png", "5.png", "10.png"],
        ["1.png", "6.png", "11.png"],
        ["2.png", "7.png"],
        ["3.png", "8.png"],
        ["4.png", "9.png"],
    ]
    assert {image.looks for image in images} == {1}
