import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Tiny networks run many times faster on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
