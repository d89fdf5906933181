"""`tuckute2024` and `algonauts2023` on made copies of their layouts."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.recipes.datasets import DATASETS, dataset_settings
from brainbench.studies.cases.rows import group_responses
from tests.data.public_copies import FILE, write_algonauts, write_tuckute


def opened(name, root, **settings):
    return DATASETS.builder(name).open(dataset_settings({"name": name, **settings}), root, Context())


# Tuckute et al. 2024 --------------------------------------------------------------------------------------------------


def test_tuckute_keeps_the_contract_and_finds_the_signal(tmp_path):
    dataset = opened("tuckute2024", write_tuckute(tmp_path))
    check_dataset(dataset)
    assert dataset.subjects == ["848", "853"] and dataset.simulated
    stimuli, responses = dataset.stimuli("848"), dataset.responses("848")
    assert len(stimuli) == 20 and set(stimuli.labels["condition"]) == {"baseline"}
    length = np.array([len(stimuli.load(i).split()) for i in responses.stimulus])
    r = {name: np.corrcoef(length, responses.data[:, mask][:, 0])[0, 1] for name, mask in responses.rois.items()}
    assert r["lang_LH_netw"] > 0.9 and abs(r["md_LH_netw"]) < 0.6
    everything = opened("tuckute2024", tmp_path, conditions=["baseline", "drive", "suppress"], rois=["lang_LH_netw"])
    assert everything.responses("853").data.shape == (30, 1)
    assert list(everything.stimuli("853").labels["condition"][-6:-4]) == ["drive", "suppress"]


def test_tuckute_leaves_out_what_is_missing_and_refuses_what_differs(tmp_path):
    text = (write_tuckute(tmp_path) / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([text[0], text[1].rpartition(",")[0] + ",nan", *text[2:]]) + "\n")
    responses = opened("tuckute2024", tmp_path).responses("848")
    assert len(responses.data) == 19
    assert any(one.left_out == "1 sentences" for one in responses.account)
    two = text[2].split(",")
    for change, message in (
        ([*text, text[5]], "twice|again|line"),
        ([*text[:4], text[4].replace('"word', '"words'), *text[5:]], "item 2 has another sentence than above"),
        ([*text[:1], ",".join([*two[:2], "X", *two[3:]]), *text[2:]], "column 'cond': 'X'; allowed: B, D, S"),
        ([text[0].replace("roi", "region"), *text[1:]], "no column 'roi'"),
        ([line for line in text if "md_LH" not in line or ",853," not in line], "853 has no response in md_LH_netw"),
        ([*text[:3], text[3].rpartition(",")[0] + ",high", *text[4:]], ":4  column 'response_target': 'high'"),
    ):
        (tmp_path / FILE).write_text("\n".join(change) + "\n")
        with pytest.raises(UserError, match=message):
            dataset = opened("tuckute2024", tmp_path)
            for subject in dataset.subjects:
                dataset.responses(subject)
    write_tuckute(tmp_path)
    with pytest.raises(UserError, match="no region 'lang_LH_net'; did you mean 'lang_LH_netw'"):
        opened("tuckute2024", tmp_path, rois=["lang_LH_net"])
    (tmp_path / FILE).unlink()
    with pytest.raises(UserError, match="0 files brain-lang-data_participant"):
        opened("tuckute2024", tmp_path)


def test_tuckutes_participants_have_a_mean_where_they_read_the_same_sentences(tmp_path):
    text = (write_tuckute(tmp_path) / FILE).read_text().splitlines()
    assert opened("tuckute2024", tmp_path).aligned_targets
    # Each reads one sentence that the other does not: as many rows, of other sentences.
    other = [line for line in text if not (line.startswith("3,") and ",848," in line)]
    other = [line for line in other if not (line.startswith("7,") and ",853," in line)]
    (tmp_path / FILE).write_text("\n".join(other) + "\n")
    dataset = opened("tuckute2024", tmp_path)
    members = [dataset.responses(subject) for subject in dataset.subjects]
    assert not dataset.aligned_targets and len(members[0].data) == len(members[1].data) == 19
    with pytest.raises(UserError, match="the rows of 853 show other stimuli than those of 848"):
        group_responses(members)
    assert opened("tuckute2024", tmp_path, subjects=["848"]).aligned_targets


# Algonauts 2023 -------------------------------------------------------------------------------------------------------


def test_algonauts_keeps_the_contract_and_finds_the_signal(tmp_path):
    latents = write_algonauts(tmp_path)
    dataset = opened("algonauts2023", tmp_path, rois=["prf-visualrois", "floc-bodies", "streams"])
    check_dataset(dataset)
    stimuli, responses = dataset.stimuli("subj01"), dataset.responses("subj01")
    assert stimuli.ids[:2] == ["nsd-00007", "nsd-00014"] and responses.data.shape == (24, 24)
    sizes = {name: int(mask.sum()) for name, mask in responses.rois.items()}
    assert sizes == {"all": 24, "V1v": 6, "EBA": 4, "ventral": 6, "lateral": 4}
    design = np.c_[latents, np.ones(24)]
    y = responses.data[:, responses.rois["V1v"]]
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert 1 - left.var() / y.var() > 0.6


def test_participants_by_number_have_the_same_files(tmp_path):
    # What `files` does not name is not hashed: a finished run would be served for changed responses.
    write_algonauts(tmp_path)
    files = [opened("algonauts2023", tmp_path, subjects=[one]).files() for one in ("subj01", "1")]
    assert files[0] == files[1] and len(files[0]) > 2


def test_algonauts_refuses_what_differs(tmp_path):
    write_algonauts(tmp_path)
    base = tmp_path / "subj01"
    images = base / "training_split/training_images"
    (images / "train-0003_nsd-00021.png").rename(images / "train-0000_nsd-00021.png")  # numbers from 0
    with pytest.raises(UserError, match=r"image 1 is 'train-0000_nsd-00021.png'; train-0001_nsd-NNNNN"):
        opened("algonauts2023", tmp_path).stimuli("subj01")
    (images / "train-0000_nsd-00021.png").rename(images / "train-0003_nsd-00021.png")
    masks = base / "roi_masks/lh.floc-bodies_challenge_space.npy"
    np.save(masks, np.full(14, 9.0))
    with pytest.raises(UserError, match=r"region 9; floc-bodies has 0 \.\.\. 4"):
        opened("algonauts2023", tmp_path).responses("subj01")
    np.save(masks, np.zeros(13))
    with pytest.raises(UserError, match="13 labels; a whole number for each of 14 vertices"):
        opened("algonauts2023", tmp_path).responses("subj01")
    np.save(masks, np.array({1: "EBA"}, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="pickled Python objects"):
        opened("algonauts2023", tmp_path).responses("subj01")
    np.save(masks, np.zeros(14))
    np.save(base / "training_split/training_fmri/rh_training_fmri.npy", np.zeros((23, 10), np.float32))
    with pytest.raises(UserError, match=r"\(23, 10\), \(24, vertices\) was expected"):
        opened("algonauts2023", tmp_path).responses("subj01")
    (tmp_path / "synthetic_copy.json").unlink()
    with pytest.raises(UserError, match="24 images, 9841 were expected"):
        opened("algonauts2023", tmp_path).stimuli("subj01")
