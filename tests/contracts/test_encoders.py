"""What every encoder keeps to: one suite over the registry and the adaptor of any module."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from semistruct.encoders import ENCODERS, Encoder, build_encoder
from semistruct.encoders.randomness import reseed

FLOAT64 = 1e-10
# Convolutions of one row and of many may be summed in another order.
FLOAT32 = 1e-5


def backbone(in_shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_shape[0], 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5)
    )


# One entry per registered name, and the adaptor; a new encoder fails here until it has one.
EXAMPLES = {
    "cnn": ("cnn", (3, 20, 24), {"dropout": 0.2}),
    "mlp": ("mlp", (5,), {"dropout": 0.2}),
    "cnn3d": ("cnn3d", (2, 5, 12, 14), {"dropout": 0.2}),
    "conv1d": ("conv1d", (20, 3), {"dropout": 0.2}),
    "conv1d, largest value": ("conv1d", (20, 3), {"pooling": "max"}),
    "recurrent": ("recurrent", (9, 3), {"dropout": 0.2}),
    "recurrent, both ways": (
        "recurrent",
        (9, 3),
        {"cell": "lstm", "bidirectional": True, "readout": "mean", "layers": 2},
    ),
    "bag": ("bag", (4, 3, 10, 12), {"dropout": 0.2}),
    "bag of features": ("bag", (7, 5), {"pooling": "mean", "n_patches": 4}),
    "bag, largest value": ("bag", (7, 5), {"pooling": "max"}),
    "module": (backbone, (3, 20, 24), {}),
    "module with a layer on top": (backbone, (3, 20, 24), {"latent_dim": 4, "dropout": 0.2}),
    "frozen module": (backbone, (3, 20, 24), {"frozen": True, "latent_dim": 4}),
}


def make(name: str, random_state: int | None = 0) -> Encoder:
    encoder, in_shape, options = EXAMPLES[name]
    made = build_encoder(encoder, in_shape, options, random_state)
    made.learn_inputs(rows(name, 60, seed=9))
    return made


def rows(name: str, n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = 3 + 2 * torch.randn(n, *EXAMPLES[name][1], generator=generator)
    assert n < 2 or x.std() > 0
    return x


@pytest.fixture(params=EXAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_registered_encoder_has_an_example():
    assert set(ENCODERS) <= set(EXAMPLES)


def test_shape_and_finiteness(name):
    encoder = make(name)
    for n in (0, 1, 7):
        U = encoder(rows(name, n))
        assert U.shape == (n, encoder.latent_dim)
        assert torch.isfinite(U).all()
    assert isinstance(encoder, Encoder)


def test_rows_are_told_apart(name):
    encoder = make(name).eval()
    assert (encoder(rows(name, 8)).std(0) > 0).any()


def test_every_parameter_gets_a_gradient(name):
    encoder = make(name)
    encoder(rows(name, 32)).square().sum().backward()
    trained = {k: p for k, p in encoder.named_parameters() if p.requires_grad}
    assert trained
    for key, parameter in trained.items():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FLOAT64), ("float32", FLOAT32)])
def test_a_row_alone_equals_the_row_in_a_batch(name, dtype, tolerance):
    dtype = getattr(torch, dtype)
    encoder, x = make(name).to(dtype).eval(), rows(name, 9).to(dtype)
    with torch.no_grad():
        together = encoder(x)
        order = torch.tensor([4, 0, 8, 4])
        alone = torch.cat([encoder(x[[i]]) for i in range(9)])
        reordered = encoder(x[order])
    limit = tolerance * float(together.abs().max())
    assert together.dtype == dtype
    assert float((alone - together).abs().max()) <= limit
    assert float((reordered - together[order]).abs().max()) <= limit


def test_in_training_a_row_does_not_see_its_companions(name):
    encoder = make(name)
    x = rows(name, 6).requires_grad_()
    encoder(x)[2].sum().backward()
    others = [i for i in range(6) if i != 2]
    if x.grad is not None:  # a frozen module has none
        assert x.grad[2].any()
        assert not x.grad[others].any()


def test_same_seed_same_encoder(name):
    a, b, c = make(name, 1), make(name, 1), make(name, 2)
    x = rows(name, 16)
    if name not in ("module", "module with a layer on top"):  # torch's own dropout inside
        assert torch.equal(a(x), b(x))
        assert torch.equal(a(x), b(x))  # and so do the next draws of dropout and augmentation
    assert torch.equal(a.eval()(x), b.eval()(x))
    assert not torch.equal(a.eval()(x), c.eval()(x))


def test_building_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    encoder = make(name)
    if name != "module" and name != "module with a layer on top":
        encoder(rows(name, 4))
    assert torch.equal(before, torch.random.get_rng_state())


def test_evaluation_is_deterministic(name):
    encoder, x = make(name).eval(), rows(name, 5)
    assert torch.equal(encoder(x), encoder(x))


def test_state_dict_pickle_and_copy(name):
    encoder, x = make(name), rows(name, 5)
    encoder(x)  # generators are in use when the copies are made
    other = build_encoder(*EXAMPLES[name], random_state=5)
    other.load_state_dict(encoder.state_dict())
    copies = [other, pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)]
    expected = encoder.eval()(x)
    for each in copies:
        assert torch.equal(each.eval()(x), expected)


def test_scaling_is_learned_once_and_makes_units_irrelevant(name):
    encoder, x = make(name).eval(), rows(name, 5)
    learned = copy.deepcopy(encoder.state_dict())
    encoder.train()(x)
    encoder.eval()
    assert all(torch.equal(learned[key], value) for key, value in encoder.state_dict().items())
    other = copy.deepcopy(encoder)
    other.learn_inputs(50 * rows(name, 60, seed=9) - 7)
    torch.testing.assert_close(other(50 * x - 7), encoder(x), rtol=1e-3, atol=1e-4)


def test_reseeding_starts_the_draws_again(name):
    encoder, x = make(name), rows(name, 30)
    if name in ("module", "module with a layer on top"):
        pytest.skip("torch's own dropout inside")
    reseed(encoder, 3)
    first = encoder(x)
    reseed(encoder, 3)
    assert torch.equal(encoder(x), first)
