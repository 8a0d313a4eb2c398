"""What fusions inside an image encoder keep to: one suite over the registry."""

from __future__ import annotations

import pytest
import torch

from semistruct.batch import Batch
from semistruct.encoders import build_encoder
from semistruct.exceptions import SpecificationError
from semistruct.fusion import CONDITIONED_FUSIONS, build_fusion
from semistruct.term_network import TermNetwork

N = 10


@pytest.fixture(params=CONDITIONED_FUSIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def network(name, seed=0):
    picture = build_encoder("cnn", (1, 8, 8), {"latent_dim": 6, "channels": (4, 5)}, seed)
    table = build_encoder("mlp", (3,), {"latent_dim": 4, "hidden": (5,)}, seed + 1)
    fusion = build_fusion(name, {"ct": 6, "age": 4}, {}, seed, map_channels={"ct": 5})
    return TermNetwork(("ct", "age"), (picture, table), fusion).eval()


def batch(**present):
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "ct": torch.rand(N, 1, 8, 8, generator=generator),
        "age": torch.randn(N, 3, generator=generator),
    }
    everything = {key: torch.ones(N, dtype=torch.bool) for key in inputs}
    return Batch(inputs, everything | present)


def every_third():
    return torch.arange(N) % 3 == 0


def test_numbers_change_how_the_picture_is_read(name):
    net, rows = network(name), batch()
    alone = {"ct": net.encoders[0](rows.inputs["ct"])}
    together = net.latents(rows)
    assert not torch.allclose(together["ct"], alone["ct"])
    other = Batch(rows.inputs | {"age": rows.inputs["age"] + 1}, rows.present)
    assert not torch.allclose(net.latents(other)["ct"], together["ct"])


def test_without_the_numbers_the_maps_stay(name):
    net, rows = network(name), batch(age=~every_third())
    alone = net.encoders[0](rows.inputs["ct"])
    here = every_third()
    torch.testing.assert_close(net.latents(rows)["ct"][here], alone[here])


@pytest.mark.parametrize("key", ["ct", "age"])
@pytest.mark.parametrize("spoiled", [1e4, float("nan")])
def test_absent_inputs_do_not_matter(name, key, spoiled):
    net, rows = network(name), batch(**{key: ~every_third()})
    inputs = rows.inputs[key].clone()
    inputs[every_third()] = spoiled
    assert torch.equal(net(rows), net(Batch(rows.inputs | {key: inputs}, rows.present)))


def test_a_row_alone_equals_the_row_in_a_batch(name):
    net, rows = network(name), batch(age=~every_third())
    joined = net(rows)
    for i in range(N):
        one = Batch(
            {key: x[[i]] for key, x in rows.inputs.items()},
            {key: b[[i]] for key, b in rows.present.items()},
        )
        torch.testing.assert_close(net(one)[0], joined[i], rtol=1e-5, atol=1e-6)


def test_everything_is_trained(name):
    net, rows = network(name), batch()
    net(rows).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
    assert all(p.grad.any() for p in net.fusion.changes.parameters())


@pytest.mark.parametrize("channels", [{}, {"ct": 5, "age": 2}])
def test_needs_pictures_and_numbers(name, channels):
    with pytest.raises(SpecificationError, match="needs both"):
        build_fusion(name, {"ct": 6, "age": 4}, {}, 0, map_channels=channels)
