import json
import math
import os
import pathlib

import pytest

from manual_bp.files.json import number, write_json


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    content = {"σ": ["tanh"], "cost": number(0.5), "path": pathlib.PurePosixPath("x/y")}
    write_json(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content | {"path": "x/y"}
    assert "σ" in path.read_text(encoding="utf-8")
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (None, None),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_that_json_does_not_have(value, expected):
    assert number(value) == expected


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"cost": math.nan})
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]
