"""Pixels and bicubic: decoding, the patch grid, the store, colour."""
