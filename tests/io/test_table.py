"""Tables as microscopes and spreadsheets write them."""

from __future__ import annotations

import pytest

from superres.errors import SourceError
from superres.io.table import read_table


@pytest.mark.parametrize("text", [
    "file,y_um,x_um\na.tif,12.5,-3\n",
    "\ufefffile;Y_um;X_UM\r\na.tif;12,5;-3\r\n",
    "# stage list\n\nFile\ty_um\tx_um\na.tif\t12,5\t-3\n\n",
    'file , y_um , x_um\n"a.tif" , 12.5 , -3\n',
])
def test_dialects(tmp_path, text):
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "p.csv")
    assert table.columns == ("file", "y_um", "x_um")
    (row,) = table.rows
    assert row.cells["file"] == "a.tif"
    assert [table.number(row, name) for name in ("y_um", "x_um")] == [12.5, -3.0]


def test_empty_cells_are_unknown_and_lines_are_counted(tmp_path):
    (tmp_path / "p.csv").write_text("# by hand\nfile,y_um\n\na.tif,\nb.tif\nc.tif,far\nd.tif,nan\n")
    table = read_table(tmp_path / "p.csv")
    assert [table.number(row, "y_um") for row in table.rows[:2]] == [None, None]
    with pytest.raises(SourceError, match=r"'p.csv', line 6: y_um is 'far'; expected a number"):
        table.number(table.rows[2], "y_um")
    with pytest.raises(SourceError, match=r"line 7: y_um is 'nan'; expected a number"):
        table.number(table.rows[3], "y_um")


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is empty"), (b"\n# nothing\n", "is empty"), ("größe,file\n".encode("utf-16"), "is not UTF-8 text"),
    (b"file,y\na,1,2\n", r"line 2: 3 cells under 2 column names"), (None, "no such file"),
])
def test_damaged_tables_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_table(tmp_path / "p.csv")
