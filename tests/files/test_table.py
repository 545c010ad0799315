"""Columns by name, cells as numbers, and what a target column is taken for."""

import math

import numpy as np
import pytest

from manual_bp.files import table


def opened(folder, text):
    path = folder / "a.csv"
    path.write_text(text)
    return table.opened(path)


def read(folder, text, *args, **kwargs):
    return table.read(opened(folder, text), *args, **kwargs)


TEXT = "size,age,kind\n1.5,3,cat\n-2e1,TRUE,dog\n"


def test_all_columns_but_the_last_are_inputs(tmp_path):
    columns = read(tmp_path, TEXT)
    assert columns.names == ("size", "age")
    assert columns.x.tolist() == [[1.5, 3], [-20, 1]]
    assert (columns.target, columns.cells, columns.numbers) == ("kind", ["cat", "dog"], [2, 3])


def test_columns_are_chosen_by_name(tmp_path):
    columns = read(tmp_path, TEXT, target="size", ignore=["kind"])
    assert (columns.names, columns.x.tolist()) == (("age",), [[3], [1]])
    assert columns.cells == ["1.5", "-2e1"]
    columns = read(tmp_path, TEXT, ["age", "size"], "")
    assert columns.x.tolist() == [[3, 1.5], [1, -20]]
    assert (columns.target, columns.cells) == ("", [None, None])


def test_the_last_column_that_is_not_ignored_is_the_target(tmp_path):
    assert read(tmp_path, TEXT, ignore=["kind"]).target == "age"


def test_a_first_column_without_a_name_has_row_numbers(tmp_path):
    columns = read(tmp_path, ",size,kind\n0,5,cat\n1,6,dog\n")
    assert (columns.names, columns.x.tolist()) == (("size",), [[5], [6]])


@pytest.mark.parametrize("line", ["0,1,2", "1,2,3", "2019,2020,y", "0,y", "a,1,2,3b"])
def test_names_may_count(line, tmp_path):
    assert opened(tmp_path, f"{line}\n").names == line.split(",")


BAD = {
    "empty": ("", "expected a line of column names and rows, got nothing"),
    "no rows": ("a,b\n", "expected rows below the column names, got none"),
    "no names": ("5.1,3.5,setosa\n4.9,3,setosa\n", r"column names .* got numbers \(5.1, …\)"),
    "no names at all": ("5,5\n4,3\n", "column names in the first line, got numbers"),
    "no name": ("a,,c\n1,2,3\n", "expected a name for each column, got none for column 2"),
    "one column": ("a\n1\n", "expected a column of inputs beside the target, got 'a'; cells stand"),
    "twice": ("a,b,a\n1,2,3\n", "expected each name once, got 'a' twice"),
    "short row": ("a,b\n1,2\n3\n", "expected 2 cells in each row, got 1 in row 3"),
    "long row": ("a,b\n1,2,3\n", "expected 2 cells in each row, got 3 in row 2; .* quotes"),
    "text": (
        "a,b,y\n1,2,x\n1,no,x\n1,,x\n",
        r"got 'no' in column 'b', row 3 and in 1 more\. Leave the column out .ignore., or write nu",
    ),
    "missing": ("a,y\n1,x\nNA,x\n", "got nothing in column 'a', row 3. .*or fill in what is miss"),
    "infinite": ("a,y\n1,x\ninf,x\n", "expected finite numbers, got 'inf' in column 'a', row 3"),
    "decimal comma": ("a;y\n0,5;x\n", "got '0,5' in column 'a', row 2.* write 0.5, not 0,5"),
    "no number": ("a,y\n1_000,x\n", "got '1_000' in column 'a', row 2"),
    "many": ("a,b,c,d,y\n?,?,?,?,x\n", "'c', row 2; and the like in 1 more"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_table_is_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.csv: .*{message}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"target": "kinds"},
            r"target: expected a column of .*, got 'kinds'; did you mean 'kind'\?",
        ),
        ({"ignore": ["ag"]}, r"ignore: expected a column of .*, got 'ag'; did you mean 'age'\?"),
        ({"target": "age", "ignore": ["age"]}, "target: expected a column that is not ignored"),
        (
            {"columns": ["size", "ages", "width"]},
            r"trained on, got none named 'ages', 'width'; did you mean 'age'\? Known: age$",
        ),
    ],
)
def test_a_column_that_is_not_there_is_refused_by_name(how, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, TEXT, **how)


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────

CLASSES = {
    "text": (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
    "two whole numbers": (["1", "0.0", "1.0"], ["0", "1"], [1, 0, 1]),
    "once each": (["c", "b", "a"], ["a", "b", "c"], [2, 1, 0]),
    "by size": (["10", "9", "-2"] * 2, ["-2", "9", "10"], [2, 1, 0] * 2),
    "words": (["none", "-", "+", "+"], ["+", "-", "none"], [2, 1, 0, 0]),
    "numbers of NumPy": ([*np.array([3.0, 1, 3])], ["1", "3"], [1, 0, 1]),
    "truth": ([True, False, True], ["False", "True"], [1, 0, 1]),
}


def targets(cells, task=None):
    return table.targets("a.csv", "y", cells, range(2, 2 + len(cells)), task)


@pytest.mark.parametrize(("cells", "classes", "labels"), CLASSES.values(), ids=CLASSES)
def test_targets_that_are_classes(cells, classes, labels):
    y, names = targets(cells)
    assert (y.tolist(), list(names)) == (labels, classes)


NUMBERS = {
    "fractions": ["0.5", "1", "0.5", "1"],
    "many whole numbers": [*map(str, range(21))] * 2,
    "once each": ["3", "1", "2"],
}


@pytest.mark.parametrize("cells", NUMBERS.values(), ids=NUMBERS)
def test_targets_that_are_numbers(cells):
    y, names = targets(cells)
    assert names == ()
    np.testing.assert_array_equal(y, np.array(cells, float)[:, None])


def test_the_task_decides():
    assert targets(["0", "1", "0"], "regression")[0].tolist() == [[0], [1], [0]]
    assert targets(["0.5", "1.5", "0.5"], "classification")[1] == ("0.5", "1.5")


@pytest.mark.parametrize(
    ("cells", "task", "message"),
    [
        (["a", None, "b"], None, "expected a target in each row, got nothing in column 'y', row 3"),
        (["a", "a"], None, "expected two classes or more in 'y', got 'a' alone"),
        (["1", "1.0"], None, "expected two classes or more in 'y', got '1' alone"),
        ([*map("a{}".format, range(21))], None, "got another one in each of 21 rows, such as 'a0'"),
        (["1.5", "2.5", "oops"], None, "expected numbers in the target .* 'oops' in row 4; .*task"),
        (["1", "b", "1"], "regression", "got 'b' in row 3"),
        (["1.5", math.inf, "2.5"], None, "got inf in row 3"),
    ],
)
def test_targets_that_are_neither_are_refused(cells, task, message):
    with pytest.raises(ValueError, match=message):
        targets(cells, task)


# ── pandas ───────────────────────────────────────────────────────────────────────────────────────


def test_a_frame_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": [1, 2], 7: [True, False], "kind": ["cat", "dog"]})
    columns = table.read(table.opened(frame))
    assert (columns.names, columns.x.tolist()) == (("size", "7"), [[1, 1], [2, 0]])
    assert columns.cells == ["cat", "dog"]
    frame.loc[1, "size"] = None
    with pytest.raises(ValueError, match=r"the DataFrame: .*nothing in column 'size', row 1"):
        table.read(table.opened(frame))


def test_what_has_the_shape_of_a_frame():
    class Frame:
        columns = ("size", "kind")

        def itertuples(self, index, name):
            assert (index, name) == (False, None)
            return iter([(1.5, "cat"), (math.nan, "dog")])

    with pytest.raises(ValueError, match="got nothing in column 'size', row 1"):
        table.read(table.opened(Frame()))
