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
def trained_small(tmp_path_factory, request):
    """A `small` generator that was trained on the toy of bars, by the first process of this run that wants it."""
    import torch

    from tests.reconstruction.toy import bars, toy_generator

    torch.set_num_threads(1)
    images, features = bars(256, seed=0)
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if hasattr(request.config, "workerinput") else folder
    return toy_generator().train(images, features, shared / "small", seed=0)
