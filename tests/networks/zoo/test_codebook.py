import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.codebook import Codebook, ResidualVQ, kmeans, rotate_to, straight_through, usage_of


def vectors(n=400, width=6, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def begun(codes, **settings):
    """Return a codebook whose codes are given, each with a count of ten."""
    book = Codebook(*codes.shape, dead_below=0.0, **settings)
    book.embed.copy_(codes)
    book.cluster_size.fill_(10)
    book.embed_avg.copy_(10 * codes)
    book.inited.fill_(1)
    return book


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_step_equals_vector_quantize_pytorch(metric):
    try:
        from vector_quantize_pytorch import ResidualVQ as Theirs
    except ImportError:
        pytest.fail("vector-quantize-pytorch, the reference of this test, is not installed: pip install '.[test]'")
    theirs = Theirs(
        dim=6, num_quantizers=3, codebook_size=16, decay=0.99, eps=1e-6, kmeans_init=True, kmeans_iters=10,
        threshold_ema_dead_code=2, rotation_trick=True, commitment_weight=0.25, use_cosine_sim=metric == "cosine",
    )  # fmt: skip
    ours = ResidualVQ(3, 16, 6, metric=metric)
    for step in range(4):
        x = 0.5 * vectors(seed=step)[None] + (step == 3)  # codes die when the data moves
        found = []
        for network in (theirs, ours):
            torch.manual_seed(step)
            given = x.clone().requires_grad_()
            out, codes, terms = network(given)
            (out.square().sum() + terms.mean()).backward()
            found.append((out, codes, terms.mean(), given.grad))
        for number, (a, b) in enumerate(zip(*found, strict=True)):
            # Gradients of float32 pass three rotations, which nearly opposite vectors make uncertain.
            torch.testing.assert_close(a, b, atol=1e-5 if number == 3 else 1e-6, rtol=1e-5)
        for level in range(3):
            a, b = theirs.layers[level]._codebook, ours.layers[level].codebook
            torch.testing.assert_close(a.embed[0], b.embed, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(a.cluster_size[0], b.cluster_size, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(a.embed_avg[0], b.embed_avg, atol=1e-5, rtol=1e-5)
    theirs.eval(), ours.eval()
    torch.testing.assert_close(theirs(x)[0], ours(x)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_nearest_code_is_the_nearest(metric):
    book, x = begun(vectors(16, seed=1), metric=metric), vectors()
    if metric == "cosine":
        expected = torch.nn.functional.cosine_similarity(x[:, None], book.embed[None], dim=-1)
        book.embed.div_(book.embed.norm(dim=-1, keepdim=True))
    else:
        expected = -torch.cdist(x, book.embed)
    assert torch.equal(book.nearest(x), expected.argmax(1))


def test_levels_leave_less_and_codes_lead_back():
    rvq = ResidualVQ(4, 32, 6)
    rvq(vectors())
    rvq.eval()
    total, codes, _ = rvq(vectors())
    left = [(vectors() - rvq.decode(codes)).square().mean().item()]
    torch.testing.assert_close(rvq.decode(codes), total)
    rest = vectors()
    errors = [rest.square().mean().item()]
    for level, layer in enumerate(rvq.layers):
        rest = rest - layer.codebook.embed[codes[:, level]]
        errors.append(rest.square().mean().item())
    assert errors == sorted(errors, reverse=True) and len(set(errors)) == 5
    assert left[0] == pytest.approx(errors[-1], rel=1e-5)


def test_codes_that_equal_the_data_stay():
    codes = vectors(8)
    book = begun(codes)
    for _ in range(20):
        book(codes.repeat(4, 1))
    torch.testing.assert_close(book.embed, codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(book.embed_avg, codes * book.cluster_size[:, None], atol=1e-4, rtol=1e-5)


def test_a_dead_code_begins_again_with_both_statistics():
    codes = torch.cat([vectors(7), torch.full((1, 6), 100.0)])
    book = begun(codes)
    book.dead_below = 2.0
    book.cluster_size[7] = 1.0
    x = vectors(64, seed=3)
    book(x)
    assert (book.embed[7] == x).all(1).any()
    assert book.cluster_size[7] == 2
    torch.testing.assert_close(book.embed_avg[7], 2 * book.embed[7])


def test_a_codebook_is_not_begun_with_duplicates():
    with pytest.raises(UserError, match="1,280 vectors for 2,048 codes"):
        Codebook(2048, 4)(vectors(1280, 4))


def test_rotation_gives_the_value_and_turns_the_gradient():
    x, q = vectors(32).requires_grad_(), vectors(32, seed=1) * torch.linspace(0.1, 3, 32)[:, None]
    out = rotate_to(x, q)
    torch.testing.assert_close(out, q, atol=1e-5, rtol=1e-5)
    weight = vectors(32, seed=2)
    (out * weight).sum().backward()
    ratio = q.norm(dim=-1) / x.detach().norm(dim=-1)
    torch.testing.assert_close(x.grad.norm(dim=-1), ratio * weight.norm(dim=-1), atol=1e-4, rtol=1e-4)
    # A gradient along the code becomes one along the vector.
    x.grad = None
    (rotate_to(x, q) * q / q.norm(dim=-1, keepdim=True)).sum().backward()
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(x.grad, x.detach()), torch.ones(32), atol=1e-4, rtol=0
    )
    x.grad = None
    (straight_through(x, q) * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


def test_the_sum_of_levels_passes_the_gradient_once():
    """Level by level, straight through, a token gets its gradient once for each level; "whole" gives it once."""
    gradients = {}
    for way in ("straight", "whole"):
        torch.manual_seed(0)
        network, x = ResidualVQ(4, 16, 6, gradient=way), vectors().requires_grad_()
        total, _, _ = network(x)
        (total * vectors(seed=1)).sum().backward()
        gradients[way] = x.grad
    torch.testing.assert_close(gradients["whole"], vectors(seed=1))
    torch.testing.assert_close(gradients["straight"], 4 * vectors(seed=1))


def test_usage():
    even, one = usage_of(torch.full((8,), 5)), usage_of(torch.eye(8)[0])
    assert (even.perplexity, even.used) == (pytest.approx(8), 1.0)
    assert (one.perplexity, one.used, one.size) == (pytest.approx(1), 0.125, 8)
    half = usage_of(torch.tensor([3.0, 1.0]))
    assert half.perplexity == pytest.approx(torch.distributions.Categorical(torch.tensor([0.75, 0.25])).perplexity())
    rvq = ResidualVQ(2, 8, 6)
    rvq(vectors())
    assert [level.size for level in rvq.usage()] == [8, 8]


def test_kmeans_finds_clusters():
    centres = 10 * torch.eye(4)
    x = (centres[:, None] + 0.1 * torch.randn(4, 50, 4)).reshape(-1, 4)
    for seed in range(20):
        torch.manual_seed(seed)
        found, counts = kmeans(x, 4, 10, "euclidean")
        if (counts == 50).all():
            assert torch.cdist(found, centres).min(1).values.max() < 0.2
            return
    pytest.fail("k-means never found four clusters in twenty starts")
