import pytest
import torch

from decomp.platform.learners.networks.internimage import DropPath, InternImage, layers_below
from decomp.platform.learners.training.global_batch import as_before

DEPTHS, GROUPS = (1, 1, 2, 1), (1, 2, 4, 8)

PUBLISHED = {
    "patch_embed.conv1.weight": (32, 3, 3, 3),
    "patch_embed.conv1.bias": (32,),
    "patch_embed.norm1.1.weight": (32,),
    "patch_embed.conv2.weight": (64, 32, 3, 3),
    "patch_embed.norm2.1.bias": (64,),
    "levels.0.blocks.3.norm1.0.weight": (64,),
    "levels.0.blocks.0.dcn.dw_conv.0.weight": (64, 1, 3, 3),
    "levels.0.blocks.0.dcn.dw_conv.1.1.weight": (64,),
    "levels.0.blocks.0.dcn.offset.weight": (72, 64),
    "levels.0.blocks.0.dcn.mask.bias": (36,),
    "levels.1.blocks.3.dcn.input_proj.weight": (128, 128),
    "levels.2.blocks.17.dcn.output_proj.bias": (256,),
    "levels.2.blocks.17.norm2.0.bias": (256,),
    "levels.2.blocks.9.mlp.fc1.weight": (1024, 256),
    "levels.2.blocks.9.mlp.fc2.bias": (256,),
    "levels.3.blocks.3.gamma1": (512,),
    "levels.3.blocks.3.gamma2": (512,),
    "levels.3.norm.0.weight": (512,),
    "levels.0.downsample.conv.weight": (128, 64, 3, 3),
    "levels.2.downsample.norm.1.bias": (512,),
}


def tiny(**options):
    torch.manual_seed(0)
    network = InternImage(3, 16, DEPTHS, GROUPS, **options)
    with torch.no_grad():  # offsets start at 0, where nothing depends on them
        for name, parameter in network.named_parameters():
            if "offset" in name or "mask" in name:
                parameter.normal_(std=0.2)
    return network


def test_internimage_t_has_the_published_parameters():
    with torch.device("meta"):
        state = InternImage().state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED
    assert sum(value.numel() for value in state.values()) == 28_769_520
    # Of the stem 8; of a block 24; a norm of 2 per stage; 3 per way down.
    assert len(state) == 8 + 30 * 22 + 4 * 2 + 3 * 3
    assert "levels.3.downsample.conv.weight" not in state


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (4, 1)])
def test_strides_round_up(size):
    maps = tiny().eval()(torch.randn(1, 3, *size))
    expected = [(16 * 2**s, -(-size[0] // 2 ** (s + 2)), -(-size[1] // 2 ** (s + 2))) for s in range(4)]
    assert [tuple(features.shape[1:]) for features in maps] == expected


def test_samples_of_a_batch_are_independent():
    network, pixels = tiny().eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for whole, alone in zip(network(pixels), network(pixels[1:]), strict=True):
            torch.testing.assert_close(whole[1:], alone)


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (None, as_before):
        network = tiny(drop_path=0.5, checkpointing=checkpointing).train()
        torch.manual_seed(1)
        pixels = torch.randn(4, 3, 32, 32)
        torch.manual_seed(2)  # of the stochastic depth
        sum(features.square().mean() for features in network(pixels)).backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert sum(float(g.abs().sum()) for g in gradients[0]) > 0


def test_every_parameter_learns():
    network = tiny(drop_path=0.0)
    pixels = torch.randn(1, 3, 64, 64)
    sum(features.square().mean() * k for k, features in enumerate(network(pixels), 1)).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_stochastic_depth_drops_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    ones = torch.ones(4000, 2, 1, 3)
    dropped = DropPath(0.25).train()(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert (dropped.flatten(1).std(1) == 0).all()
    assert torch.equal(DropPath(0.25).eval()(ones), ones)


def test_rates_of_stochastic_depth_rise_linearly():
    network = InternImage(3, 16, DEPTHS, GROUPS, drop_path=0.4)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("patch_embed.conv1.weight", 0),
        ("levels.0.blocks.0.gamma1", 1),
        ("levels.0.blocks.3.dcn.mask.bias", 4),
        ("levels.0.norm.0.weight", 5),
        ("levels.0.downsample.conv.weight", 5),
        ("levels.1.blocks.0.mlp.fc1.weight", 5),
        ("levels.2.blocks.17.norm1.0.bias", 26),
        ("levels.2.downsample.norm.1.bias", 27),
        ("levels.3.blocks.3.gamma2", 30),
        ("levels.3.norm.0.weight", 27),
    ],
)
def test_layers_are_counted_as_published(name, layer):
    assert layers_below(name, (4, 4, 18, 4)) == layer
