import pytest

from brainbench.core.errors import UserError
from brainbench.core.share import share_folder
from brainbench.recipes.reconstruction import CODECS, GENERATORS
from brainbench.reconstruction.cards import check_licence, load_weights_card

NAMES = sorted(path.stem for path in share_folder("weights").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_of_something_that_exists(name):
    card = load_weights_card(name)
    assert card.name == name and name in (CODECS if card.kind == "codec" else GENERATORS)
    assert card.weights and all(one.gigabytes > 0 and one.licence and one.fetch for one in card.weights)


def test_all_that_download_have_a_card():
    assert set(NAMES) == (set(CODECS) | set(GENERATORS)) - {"pca", "small"}


def test_only_non_commercial_weights_ask():
    for name in NAMES:
        card = load_weights_card(name)
        check_licence(name, accepted=True)
        if card.needs_acceptance:
            with pytest.raises(UserError, match="non-commercial"):
                check_licence(name, accepted=False)
        else:
            check_licence(name, accepted=False)
    assert [name for name in NAMES if load_weights_card(name).needs_acceptance] == ["stable-cascade"]
    check_licence("somebody-elses", accepted=False)
