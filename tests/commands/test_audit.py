"""The audit on real recordings with coin-flip labels: it flags the published protocol and passes honest ones."""

import pandas as pd
import pytest

from brainbench.cli import main
from brainbench.commands.audit import AuditSettings, audit_recipe

RUNS = (3, 4, 7, 8, 11, 12)


def accuracy(table, protocol, pipeline="nearest_neighbour"):
    found = table[(table["protocol"] == protocol) & (table["pipeline"] == pipeline)]
    assert len(found) == 1
    return found.iloc[0]


def test_the_published_protocol_reads_coins_and_is_flagged(tmp_path, real_data):
    """Windows of 640 samples every 147, out of 20-s trials of an arbitrary label, shuffled over five folds."""
    source = real_data / "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"
    files = pd.DataFrame({"path": [f"S001R{run:02d}.edf" for run in RUNS], "subject": "S001"})
    files["run"] = files["path"].str[4:7]
    for name in files["path"]:
        (tmp_path / name).symlink_to(source / name)
    files.to_csv(tmp_path / "recordings.csv", index=False)
    events = [
        {"path": name, "onset": 20 * trial + window * 147 / 160, "label": "ab"[trial % 2]}
        for name in files["path"]
        for trial in range(6)
        for window in range(18)
    ]
    pd.DataFrame(events).to_csv(tmp_path / "events.csv", index=False)
    recipe = tmp_path / "published.yaml"
    recipe.write_text(
        f"kind: decode\ndataset: {{name: eeg-folder, root: {tmp_path}, band: null, tmin: 0, tmax: 3.99375}}\n"
        "pipelines: [{name: csp_lda, decoder: csp_lda}]\n"
        "evaluate: [{scheme: k-fold}, {scheme: leave-one-run-out}]\n"
    )
    found = audit_recipe(recipe, settings=AuditSettings(seeds=2), out=tmp_path / "audit")
    shuffled, by_run = accuracy(found.table, "k-fold"), accuracy(found.table, "leave-one-run-out")
    assert shuffled["leaks"] and shuffled["accuracy"] > 0.8  # 0.92 in the reference, on five people
    assert shuffled["blocks"] == 36
    assert not by_run["leaks"] and by_run["low"] < by_run["accuracy"] < by_run["high"]
    assert not accuracy(found.table, "trial-blocked windows")["leaks"]
    assert found.line.startswith("published: LEAKS. With k-fold coin-flip labels are read with accuracy 0.")
    assert "leave-one-run-out" not in found.line


ONE = ["dataset.subjects=[S001]", "dataset.channels=[C5, C3, C1, Cz, C2, C4, C6, CP3, CP4, FC3, FC4, Pz]"]


def test_honest_recipes_pass(tmp_path, real_data, capsys):
    overrides = [f"dataset.root={real_data / 'MNE-eegbci-data'}", *ONE]
    settings = AuditSettings(pipelines=["tangent_lr", "csp_lda"], seeds=3)
    found = audit_recipe("eeg-motor-imagery", settings=settings, overrides=overrides, out=tmp_path / "audit")
    assert set(found.table["pipeline"]) == {"tangent_lr", "csp_lda", "nearest_neighbour"}
    assert not found.table.loc[found.table["protocol"] != "shuffled windows", "leaks"].any()
    assert accuracy(found.table, "shuffled windows")["accuracy"] > 0.8
    assert found.line.startswith("eeg-motor-imagery: no leak. With leave-one-run-out")
    events = (tmp_path / "audit" / "events.jsonl").read_text()
    arguments = [word for one in overrides for word in ("--set", one)]
    main_arguments = ["audit", "eeg-motor-imagery", *arguments, "--pipeline", "tangent_lr,csp_lda", "--seeds", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([*main_arguments, "--out", str(tmp_path / "audit")])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == found.line
    assert (tmp_path / "audit" / "events.jsonl").read_text() == events  # nothing was computed again
    assert (tmp_path / "audit" / "audit.txt").read_text().splitlines()[0] == found.line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eeg-motor-imagery", "--pipeline", "tangent"], "no pipeline 'tangent'; did you mean 'tangent_lr'"),
        (["eeg-motor-imagery", "--seeds", "1"], "--seeds 1: two or more"),
        (["eeg-motor-imagery", "--window", "5"], "--window: a window of 5 s does not fit into a trial"),
        (["eeg-motor-imagery", "--step", "-1"], "--step -1: seconds must be above 0"),
        (["haxby-categories"], "only recipes of `kind: decode` with `pipelines`"),
        (["nothing"], "nothing"),
    ],
)
def test_mistakes_are_one_message(tmp_path, real_data, capsys, arguments, message):
    given = [f"dataset.root={real_data / 'MNE-eegbci-data'}", *ONE] if arguments[0].startswith("eeg") else []
    with pytest.raises(SystemExit) as stopped:
        main(["audit", *arguments, "--out", str(tmp_path), *[word for one in given for word in ("--set", one)]])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and "Traceback" not in said
