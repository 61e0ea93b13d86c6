"""A CSV or parquet file as columns, every row counted.

CSV columns stay text: a guess made from the first block (invoice numbers are integers) breaks at the first `C536379`.
The whole file is held as Arrow columns, because it must be sorted by event time: about its uncompressed size, 60 MB for
541,909 invoice lines.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import xxhash

from stream.errors import SetupError

HEADER_BYTES = 1_048_576  # a header line longer than this is no header
BLOCK_BYTES = 1_048_576
NAMES_SHOWN = 20  # of a file's columns, in an error


@dataclass(frozen=True)
class Sheet:
    """A file's columns, and how many of its rows could not be cut into columns at all."""

    table: pa.Table
    unreadable_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows of the file, the unreadable ones included."""
        return int(self.table.num_rows) + self.unreadable_rows

    def column(self, name: str) -> pa.Array:
        """One column as one array. Raises SetupError naming the columns there are."""
        if name not in self.table.column_names:
            raise SetupError(
                f"the file has no column {name!r}",
                f"it has {shown(self.table.column_names)}",
                "map your columns with --columns field=column, or choose another --format",
            )
        if self.table.column_names.count(name) > 1:
            raise SetupError(
                f"the file has {self.table.column_names.count(name)} columns {name!r}",
                hint="rename one of them, so that it is clear which is meant",
            )
        return _plain(self.table.column(name))


def read_sheet(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> Sheet:
    """Read a `.parquet` or CSV (`.csv`, `.tsv`, also gzipped) file. Raises SetupError where that cannot be done."""
    if not path.is_file():
        raise SetupError(f"no such file: {path}", hint="give the path of a CSV or parquet file")
    if len(delimiter) != 1:
        raise SetupError(f"could not read --delimiter {delimiter!r}", "it is one character", "--delimiter ';'")
    try:
        if path.suffix == ".parquet":
            return Sheet(pq.read_table(path))
        return _read_csv(path, "\t" if ".tsv" in path.suffixes else delimiter, encoding)
    except (pa.ArrowException, OSError, UnicodeDecodeError, LookupError) as error:
        raise SetupError(
            f"could not read {path}",
            str(error),
            "parquet files end in .parquet; anything else is CSV with a header line (see --delimiter, --encoding)",
        ) from error


def _read_csv(path: Path, delimiter: str, encoding: str) -> Sheet:
    require_text(path, encoding)
    with pa.input_stream(str(path)) as stream:  # follows .gz by its name
        header = stream.read(HEADER_BYTES).decode(encoding, "replace").removeprefix("\ufeff").splitlines()[:1]
    names = next(csv.reader(header, delimiter=delimiter), [])
    unreadable = 0

    def skip(_: object) -> str:
        nonlocal unreadable
        unreadable += 1
        return "skip"

    table = pc_csv.read_csv(
        str(path),
        read_options=pc_csv.ReadOptions(use_threads=False, encoding=encoding),
        parse_options=pc_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip, newlines_in_values=True),
        convert_options=pc_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.utf8()), strings_can_be_null=True, null_values=["", "NULL", "null"]
        ),
    )
    return Sheet(table, unreadable)


def require_text(path: Path, encoding: str = "utf-8") -> None:
    """Raise SetupError, naming the line, where a file is not text in this encoding: Arrow says it late, if at all."""
    "".encode(encoding)  # LookupError for what is no encoding of text
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with pa.input_stream(str(path)) as stream:
        try:
            while block := stream.read(BLOCK_BYTES):
                decoder.decode(block)
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as wrong:
            raise SetupError(
                f"could not read {path}",
                f"line {line + wrong.object[: wrong.start].count(10)} is not {encoding}: {wrong.reason}",
                "save it as UTF-8, or name its encoding with --encoding where there is that option: cp1252, utf-16",
            ) from wrong


def shown(names: Sequence[str], most: int = NAMES_SHOWN) -> str:
    """Names, of columns for instance; of many the first `most`.

    >>> shown(["sku", "units"]), shown([str(n) for n in range(1941)])[-18:]
    ('sku, units', ' 19 and 1,921 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def text(column: pa.Array) -> pa.Array:
    """A column as strings, nulls kept; whole floats lose their `.0` (17850.0 is customer 17850)."""
    if pa.types.is_floating(column.type):
        values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
        if np.all(np.isfinite(values) & (values == np.trunc(values)) & (np.abs(values) < 2**53)):
            return column.cast(pa.int64()).cast(pa.utf8())
    try:
        return column.cast(pa.utf8())
    except pa.ArrowException:  # lists and structs
        return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.utf8())


def digests(table: pa.Table) -> pa.Array:
    """80 bits in hex for each row, over all its columns: equal rows and only they have equal digests.

    Two among a hundred million different rows collide with a chance of one in 240 million.
    """
    if table.num_columns == 0:
        return pa.array([], pa.utf8())
    columns = [_escaped(_plain(c).cast(pa.utf8()) if _castable(c.type) else text(_plain(c))) for c in table.columns]
    joined = pc.binary_join_element_wise(*columns, "\x1f")
    digest = xxhash.xxh3_128_hexdigest
    out: list[str] = []
    for begin in range(0, len(joined), 65_536):
        out.extend(digest(row)[:20] for row in joined.slice(begin, 65_536).cast(pa.binary()).to_pylist())
    return pa.array(out, pa.utf8())


def repeats(digest: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each row the first row equal to it, and how many equal ones came before: (first, copy), each of shape (n,).

    >>> [x.tolist() for x in repeats(pa.array(["a", "b", "a", "a"]))]
    [[0, 1, 0, 0], [0, 0, 1, 2]]
    """
    codes = codes_of(digest)
    if len(codes) == 0:
        return codes, codes
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64), rank_within(codes)


def codes_of(column: pa.Array) -> npt.NDArray[np.int64]:
    """An integer for each distinct value, null included."""
    encoded = _plain(column).dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)


def rank_within(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many earlier entries have the same code.

    >>> rank_within(np.array([7, 8, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    n = len(codes)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if n else np.zeros(0, np.int64)
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n) - np.repeat(begins, np.diff(np.r_[begins, n]))
    return rank


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # still: an empty or over-long column
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _castable(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_dictionary(kind))


def _escaped(column: pa.Array) -> pa.Array:
    """Text in which neither the separator nor the sign for null can occur by accident."""
    escaped = pc.replace_substring(pc.replace_substring(column, "\x1b", "\x1bb"), "\x1f", "\x1bs")
    return escaped.fill_null("\x1bn")
