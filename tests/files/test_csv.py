"""What is read of a CSV file, and what is refused."""

import pytest

from manual_bp.files import csv


def write(folder, content, encoding="utf-8"):
    path = folder / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


ROWS = [(1, ["size", "kind"]), (2, ["1.5", "a b"]), (3, ["-2", "ü"])]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "], ids=repr)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_rows_of_every_kind(delimiter, end, tmp_path):
    lines = [delimiter.join(cells) for _, cells in ROWS]
    assert list(csv.rows(write(tmp_path, end.join(lines)))) == ROWS


def test_what_spreadsheets_add_is_no_part_of_it(tmp_path):
    text = "\ufeffsize,kind\n\n1.5 , a b\n,\n-2,ü\n\n"
    rows = list(csv.rows(write(tmp_path, text)))
    assert rows == [(1, ROWS[0][1]), (3, ROWS[1][1]), (5, ROWS[2][1])]


def test_quotes_hold_separators_and_lines_together(tmp_path):
    path = write(tmp_path, '"a;b","c, d"\n"1\n2","say ""x"""\n')
    assert list(csv.rows(path)) == [(1, ["a;b", "c, d"]), (3, ["1\n2", 'say "x"'])]


def test_an_empty_file_has_no_rows(tmp_path):
    assert list(csv.rows(write(tmp_path, "\n  \n"))) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("größe\n1".encode("latin-1"), "expected text in UTF-8, .* save it as CSV UTF-8"),
        ("a,b\n1,2".encode("utf-16"), "expected text in UTF-8"),
        ('a,b\n1,2\n"3,4\n5,6\n', r"got what is none \(.*after row 2\); save it as CSV again"),
        ("a" * 200_000, r"field larger .*after row 0\)"),
    ],
    ids=["latin-1", "utf-16", "open quote", "no end"],
)
def test_what_is_no_csv_is_refused(content, message, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.csv: .*{message}"):
        list(csv.rows(write(tmp_path, content)))


def test_a_missing_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"none\.csv: expected a CSV file, got no such file"):
        list(csv.rows(tmp_path / "none.csv"))
    monkeypatch.setattr(csv, "MAX_BYTES", 5)
    with pytest.raises(ValueError, match=r"a\.csv: expected at most 5 bytes, got 6"):
        list(csv.rows(write(tmp_path, "a\n1\n2\n")))
