"""What every latent fusion keeps to: one suite over the registry."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from semistruct.exceptions import SpecificationError
from semistruct.fusion import FUSIONS

DIMS = {"ct": 6, "gene": 4, "age": 2}


@pytest.fixture(params=FUSIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def draw(n=12, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    latents = {m: torch.randn(n, d, generator=generator, dtype=dtype) for m, d in DIMS.items()}
    present = {m: torch.rand(n, generator=generator) < 0.6 for m in DIMS}
    present["ct"][0] = present["gene"][0] = present["age"][0] = False
    present["ct"][1] = present["gene"][1] = present["age"][1] = True
    assert len({tuple(row) for row in torch.stack(list(present.values()), 1).tolist()}) > 3
    return latents, present


def make(name, random_state=0, dims=DIMS, **options):
    return FUSIONS[name](dims, random_state=random_state, **options).double()


@pytest.mark.parametrize("latent_dim", [None, 5])
def test_shape(name, latent_dim):
    fusion = make(name, latent_dim=latent_dim)
    latents, present = draw()
    joined = fusion(latents, present)
    assert joined.shape == (12, fusion.latent_dim)
    assert torch.isfinite(joined).all()
    if latent_dim is not None:
        assert fusion.latent_dim == latent_dim
    one_row = {m: u[:1] for m, u in latents.items()}, {m: b[:1] for m, b in present.items()}
    assert fusion(*one_row).shape == (1, fusion.latent_dim)


@pytest.mark.parametrize("spoiled", [1e6, float("nan"), float("inf")])
def test_absent_modalities_do_not_matter(name, spoiled):
    fusion = make(name)
    latents, present = draw()
    other = {m: u.masked_fill(~present[m][:, None], spoiled) for m, u in latents.items()}
    assert torch.equal(fusion(latents, present), fusion(other, present))


def test_absent_modalities_get_no_gradient(name):
    fusion = make(name)
    latents, present = draw()
    latents = {
        m: u.masked_fill(~present[m][:, None], float("nan")).requires_grad_()
        for m, u in latents.items()
    }
    fusion(latents, present).square().sum().backward()
    for m, u in latents.items():
        assert not u.grad[~present[m]].any()
        assert u.grad[present[m]].abs().sum() > 0
    for key, parameter in fusion.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), key


def test_presence_matters(name):
    fusion = make(name)
    latents, present = draw()
    everything = {m: torch.ones(12, dtype=torch.bool) for m in DIMS}
    assert not torch.allclose(fusion(latents, present), fusion(latents, everything))


def test_every_modality_matters(name):
    fusion = make(name, dims=dict.fromkeys(DIMS, 4))
    generator = torch.Generator().manual_seed(1)
    latents = {m: torch.randn(20, 4, generator=generator, dtype=torch.float64) for m in DIMS}
    present = {m: torch.ones(20, dtype=torch.bool) for m in DIMS}
    joined = fusion(latents, present)
    for m in DIMS:
        changed = fusion(latents | {m: latents[m] + 1}, present)
        assert not torch.allclose(changed, joined)


def test_a_row_alone_equals_the_row_in_a_batch(name):
    fusion = make(name)
    latents, present = draw()
    joined = fusion(latents, present)
    for i in range(12):
        alone = fusion(
            {m: u[[i]] for m, u in latents.items()}, {m: b[[i]] for m, b in present.items()}
        )
        torch.testing.assert_close(alone[0], joined[i], rtol=0, atol=1e-10)


def test_order_of_the_mapping_does_not_matter(name):
    fusion = make(name)
    latents, present = draw()
    backwards = dict(reversed(latents.items()))
    assert torch.equal(fusion(backwards, present), fusion(latents, present))


def test_seed_state_dict_pickle_and_copy(name):
    latents, present = draw()
    before = torch.random.get_rng_state()
    a, b, c = make(name, 1), make(name, 1), make(name, 2)
    assert torch.equal(before, torch.random.get_rng_state())
    joined = a(latents, present)
    assert torch.equal(joined, b(latents, present))
    assert not torch.equal(joined, c(latents, present))
    c.load_state_dict(a.state_dict())
    for other in (c, pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        assert torch.equal(other(latents, present), joined)


def test_one_modality(name):
    fusion = make(name, dims={"ct": 6})
    latents, present = draw()
    joined = fusion({"ct": latents["ct"]}, {"ct": present["ct"]})
    assert joined.shape == (12, fusion.latent_dim)


@pytest.mark.parametrize("dims", [{}, {"ct": 0}])
def test_refuses_impossible_dimensions(name, dims):
    with pytest.raises(SpecificationError, match="at least one modality"):
        FUSIONS[name](dims)
    with pytest.raises(SpecificationError, match="latent_dim"):
        FUSIONS[name](DIMS, latent_dim=0)
