import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Tiny networks run many times faster on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained_small(tmp_path_factory):
    """A `small` generator that was trained on the toy of bars."""
    import torch

    from tests.reconstruction.toy import bars, toy_generator

    torch.set_num_threads(1)
    images, features = bars(256, seed=0)
    return toy_generator().train(images, features, tmp_path_factory.mktemp("small"), seed=0)
