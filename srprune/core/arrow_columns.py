"""Columns on their way into Parquet files and out of them, without a second copy and pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from srprune.core.columns import BLOCK, Array, Column, Text, run_starts


def to_arrow(column: Column) -> pa.Array | pa.ChunkedArray:
    """A column for pyarrow, from its memory: ``pa.array`` loads pandas, 0.3 s."""
    if isinstance(column, Text) or (not isinstance(column, range) and column.dtype.kind in "OUT"):
        text = column if isinstance(column, Text) else Text.of(column)
        if len(text) > BLOCK:  # a row group gets all words of its array: each its own ones
            ends = range(BLOCK, len(text) + BLOCK, BLOCK)
            return pa.chunked_array([to_arrow(text.part(end - BLOCK, end)) for end in ends])
        words, codes_N = text.coded()
        raw = [word.encode() for word in words]
        offsets = np.cumsum([0, *map(len, raw)], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))]
        dictionary = pa.Array.from_buffers(pa.string(), len(words), buffers)
        return pa.DictionaryArray.from_arrays(to_arrow(codes_N), dictionary)
    numbers = np.asarray(column, dtype=None if isinstance(column, np.ndarray) else np.int64)
    if numbers.dtype.kind == "b":  # eight to a byte there
        return pa.array(numbers)
    plain = np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("="))
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])


def read_column(file: pq.ParquetFile, name: str) -> Array | Text:
    """A column of a file, block by block into its own memory: no copy of it stands beside it.

    Raises:
        ArrowException: it is damaged, or has empty cells.
    """
    kind = file.schema_arrow.field(name).type
    batches = (  # of one row group at a time, else the words of all add up
        batch.column(0)
        for group in range(file.num_row_groups)
        for batch in file.iter_batches(BLOCK, row_groups=[group], columns=[name])
    )
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return _text(batches, name)
    whole: Array = np.empty(file.metadata.num_rows, dtype=_dtype(kind))
    row = 0
    for batch in batches:
        if batch.null_count:
            raise pa.ArrowInvalid(f"empty cells in column {name}")
        whole[row : row + len(batch)] = _numpy(batch)
        row += len(batch)
    return whole


def _numpy(values: pa.Array) -> Array:
    """Values of an array without empty cells; ``to_numpy`` loads pandas where it is installed."""
    kind = values.type
    if len(values) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        dtype = _dtype(kind)
        first = values.offset * dtype.itemsize
        return np.frombuffer(values.buffers()[1], dtype, len(values), first)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    """As ``to_pandas_dtype``, which loads pandas in pyarrow before 26."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        signed = "u" if pa.types.is_unsigned_integer(kind) else "i"
        letter = "f" if pa.types.is_floating(kind) else signed
        return np.dtype(f"{letter}{kind.bit_width // 8}")
    return np.dtype(bool if pa.types.is_boolean(kind) else kind.to_pandas_dtype())


def _text(batches: Iterator[pa.Array], name: str) -> Text:
    values: list[str] = []
    counts: list[Array] = []
    for batch in batches:
        if batch.null_count:
            raise pa.ArrowInvalid(f"empty cells in column {name}")
        coded = batch if isinstance(batch, pa.DictionaryArray) else batch.dictionary_encode()
        codes_B = _numpy(coded.indices)
        starts = run_starts(codes_B)
        words = coded.dictionary.to_pylist()
        own = [words[code] for code in codes_B[starts].tolist()]
        counts_R = np.diff(np.r_[starts, len(codes_B)])
        if values and own and values[-1] == own[0]:  # a run that goes on in the next block
            counts[-1][-1] += counts_R[0]
            own, counts_R = own[1:], counts_R[1:]
        values += own
        if len(counts_R):
            counts.append(counts_R)
    return Text(values, np.concatenate([np.empty(0, dtype=np.int64), *counts]))
