import numpy as np

from brainbench.data.account import RunUse, rows_by_run, shortened
from brainbench.data.base import Responses


def test_rows_are_counted_by_run_in_the_order_of_runs():
    rows = rows_by_run("sub-01", ["run-2"] * 3 + ["run-10"] * 2 + ["run-1"], unit="volumes")
    assert [(row.run, row.used) for row in rows] == [
        ("run-2", "3 volumes"), ("run-10", "2 volumes"), ("run-1", "1 volumes"),
    ]  # fmt: skip


def test_responses_that_say_nothing_are_counted_by_run():
    responses = Responses("sub-01", np.zeros((3, 2)), np.arange(3), np.array(["b", "b", "a"]), {})
    assert [str(row) for row in responses.account] == ["sub-01 b: 2 rows", "sub-01 a: 1 rows"]


def test_equal_runs_stand_in_one_row_and_others_alone():
    alike = [RunUse("s", run=f"run-{k}", used="9 rows") for k in range(1, 6)]
    odd = RunUse("s", run="run-6", used="8 rows", left_out="1 event", why="after the end")
    for_all = RunUse("s", used="7 voxels", left_out="2 of 9 voxels", why="NaN in every row")
    short = shortened([*alike, odd, *alike[:2], for_all])
    assert [row.run for row in short] == ["run-1 ... run-5 (5 runs)", "run-6", "run-1", "run-2", ""]
    assert str(short[-1]) == "s all runs: 7 voxels; 2 of 9 voxels left out: NaN in every row"


def test_responses_have_one_order_in_memory():
    """Files of MATLAB and Fortran come column by column; sums over them would have other last digits than a copy's."""
    data = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    assert Responses("sub-01", data, np.arange(3), np.array(["a"] * 3), {}).data.flags.c_contiguous
