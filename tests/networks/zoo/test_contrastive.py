import math

import numpy as np
import pytest
import torch

from brainbench.networks.zoo.contrastive import cross_model_loss, cross_view_loss, nt_xent


@pytest.mark.parametrize(("n", "expected"), [(2, 0.013386), (8, 0.090143)])
def test_orthogonal_pairs_have_a_closed_form(n, expected):
    rows = torch.eye(n)
    assert nt_xent(rows, 3 * rows).item() == pytest.approx(expected, abs=1e-6)  # length does not matter
    assert nt_xent(rows, rows).item() == pytest.approx(math.log(1 + (2 * n - 2) * math.exp(-5)), abs=1e-6)


def by_hand(a, b, temperature):
    rows = np.concatenate([a, b])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n, losses = len(a), []
    for i in range(2 * n):
        weights = [math.exp(rows[i] @ rows[j] / temperature) if j != i else 0.0 for j in range(2 * n)]
        losses.append(-math.log(weights[(i + n) % (2 * n)] / sum(weights)))
    return float(np.mean(losses))


def test_one_small_example_by_hand():
    # Two pairs in the plane: 0 and 90 degrees, partners 90 and 90 degrees, temperature 1.
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    e = math.e
    # Row 0 sees cosines 0 (row 1), 0 (partner), 0: log 3. Row 2, its partner: 0 (row 0), 1, 1.
    # Rows 1 and 3: cosines 0, 1 and 1, one of the ones is the partner.
    expected = (math.log(3) + math.log(1 + 2 * e) + 2 * (math.log(1 + 2 * e) - 1)) / 4
    assert nt_xent(a, b, temperature=1.0).item() == pytest.approx(expected, abs=1e-6)


def test_random_rows_agree_with_the_sum_written_out():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4))
    loss = nt_xent(torch.tensor(a), torch.tensor(b), 0.3).item()
    assert loss == pytest.approx(by_hand(a, b, 0.3), abs=1e-10)
    order = rng.permutation(5)
    assert nt_xent(torch.tensor(a[order]), torch.tensor(b[order]), 0.3).item() == pytest.approx(loss, abs=1e-10)
    assert nt_xent(torch.tensor(b), torch.tensor(a), 0.3).item() == pytest.approx(loss, abs=1e-10)
    # Very warm: every one of the 2N - 1 others is as likely.
    assert nt_xent(torch.tensor(a), torch.tensor(b), 1e6).item() == pytest.approx(math.log(9), abs=1e-4)


def test_cross_view_is_the_mean_over_views_of_both_networks_rows_together():
    rng = np.random.default_rng(1)
    f, z = rng.normal(size=(2, 4, 3, 6))  # raw and 3 views, 3 trials, 6 features
    expected = np.mean([by_hand(np.concatenate([f[0], z[0]]), np.concatenate([f[v], z[v]]), 0.2) for v in (1, 2, 3)])
    found = cross_view_loss(list(torch.tensor(f)), list(torch.tensor(z)))
    assert found.item() == pytest.approx(expected, abs=1e-10)


def test_cross_model_pairs_all_rows_of_one_network_with_all_of_the_other():
    rng = np.random.default_rng(2)
    f, z = rng.normal(size=(2, 4, 3, 6))
    expected = by_hand(f.reshape(12, 6), z.reshape(12, 6), 0.2)
    assert cross_model_loss(list(torch.tensor(f)), list(torch.tensor(z))).item() == pytest.approx(expected, abs=1e-10)
    agreeing = torch.eye(12).split(3)
    assert cross_model_loss(agreeing, agreeing).item() == pytest.approx(math.log(1 + 22 * math.exp(-5)), abs=1e-6)


def test_rows_that_are_no_partners_are_refused():
    with pytest.raises(ValueError, match="partners"):
        nt_xent(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="at least one view"):
        cross_view_loss([torch.zeros(2, 3)], [torch.zeros(2, 3)])
