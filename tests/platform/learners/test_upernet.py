from collections import OrderedDict
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from decomp.platform.components import build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.networks.upernet import Network
from decomp.platform.learners.training.distributed import Group
from decomp.platform.learners.upernet import UperNet

TINY = UperNet(
    channels=16, depths=(1, 1, 2, 1), groups=(1, 2, 4, 8), decoder_channels=8, auxiliary_channels=4, drop_path=0.0
)

PUBLISHED = {
    "decode_head.conv_seg.weight": (19, 512, 1, 1),
    "decode_head.conv_seg.bias": (19,),
    "decode_head.psp_modules.0.1.conv.weight": (512, 512, 1, 1),
    "decode_head.psp_modules.3.1.bn.running_var": (512,),
    "decode_head.bottleneck.conv.weight": (512, 2560, 3, 3),
    "decode_head.lateral_convs.0.conv.weight": (512, 64, 1, 1),
    "decode_head.lateral_convs.2.bn.weight": (512,),
    "decode_head.fpn_convs.1.conv.weight": (512, 512, 3, 3),
    "decode_head.fpn_bottleneck.conv.weight": (512, 2048, 3, 3),
    "decode_head.fpn_bottleneck.bn.num_batches_tracked": (),
    "auxiliary_head.convs.0.conv.weight": (256, 256, 3, 3),
    "auxiliary_head.convs.0.bn.bias": (256,),
    "auxiliary_head.conv_seg.weight": (19, 256, 1, 1),
    "backbone.levels.2.blocks.17.dcn.offset.weight": (288, 256),
}


def network(n_classes=5, seed=0, learner=TINY):
    torch.manual_seed(seed)
    made = learner.network(learner.network_options(), 3, n_classes)
    with torch.no_grad():
        for name, value in made.named_buffers():
            if name.endswith("running_mean"):
                value.normal_()
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return made.eval()


def published(made: Network):
    """The network as mmsegmentation would save it."""
    return OrderedDict((name, value) for name, value in made.state_dict().items() if name not in ("mean", "std"))


def test_upernet_t_has_the_published_size_and_names():
    with torch.device("meta"):
        made = UperNet().network(UperNet().network_options(), 3, 19)
    state = made.state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED
    assert sum(parameter.numel() for parameter in made.parameters()) == 58_976_278  # published: 59 M
    heads = [name for name in state if not name.startswith(("backbone.", "mean", "std"))]
    assert len(heads) == 6 * (4 + 1 + 3 + 3 + 1) + 2 + 6 + 2  # six tensors per block of convolution and norm


def block(state, name, x):
    """Convolution, batch norm and rectifier from their weights."""
    weight = state[f"{name}.conv.weight"]
    x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    mean, var, gain, bias = (
        state[f"{name}.bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * gain + bias).clamp(min=0)


def enlarged(x, like):
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def test_decoder_is_pyramid_pooling_and_a_feature_pyramid():
    made = network()
    s = made.decode_head.state_dict()
    sizes = [(13, 17), (7, 9), (4, 5), (2, 3)]
    maps = [torch.randn(2, 16 * 2**k, *size) for k, size in enumerate(sizes)]
    pooled = [
        enlarged(block(s, f"psp_modules.{k}.1", functional.adaptive_avg_pool2d(maps[3], scale)), maps[3])
        for k, scale in enumerate((1, 2, 3, 6))
    ]
    p4 = block(s, "bottleneck", torch.cat([maps[3], *pooled], 1))
    p3 = block(s, "lateral_convs.2", maps[2]) + enlarged(p4, maps[2])
    p2 = block(s, "lateral_convs.1", maps[1]) + enlarged(p3, maps[1])
    p1 = block(s, "lateral_convs.0", maps[0]) + enlarged(p2, maps[0])
    smooth = [block(s, f"fpn_convs.{k}", level) for k, level in enumerate((p1, p2, p3))]
    fused = torch.cat([smooth[0], *(enlarged(level, maps[0]) for level in (smooth[1], smooth[2], p4))], 1)
    expected = functional.conv2d(block(s, "fpn_bottleneck", fused), s["conv_seg.weight"], s["conv_seg.bias"])
    with torch.no_grad():
        torch.testing.assert_close(made.decode_head(maps), expected, atol=1e-5, rtol=1e-4)
        wide = functional.interpolate(expected, (50, 66), mode="bilinear", align_corners=False)
        torch.testing.assert_close(made.decode(maps, (50, 66)), wide, atol=1e-5, rtol=1e-4)


def test_auxiliary_head_reads_the_third_stage():
    made = network()
    s = made.auxiliary_head.state_dict()
    maps = [torch.randn(2, 16 * 2**k, 4, 5) for k in range(4)]
    expected = functional.conv2d(block(s, "convs.0", maps[2]), s["conv_seg.weight"], s["conv_seg.bias"])
    with torch.no_grad():
        result = made.auxiliary(maps, (8, 10))
    torch.testing.assert_close(result, enlarged(expected, result), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_published_model_loads_whole(tmp_path, suffix):
    source, file = network(seed=1), tmp_path / f"model{suffix}"
    if suffix == ".pth":
        meta = {"CLASSES": ("a", "b"), "mmseg_version": "0.27.0", "hook_msgs": {"best_score": 0.8}}
        torch.save({"meta": meta, "state_dict": published(source)}, file)
    else:
        safetensors.torch.save_file(published(source), file)
    target = network(seed=2)
    replace(TINY, pretrained=file).load_pretrained(target)
    assert all(torch.equal(value, published(target)[name]) for name, value in published(source).items())
    pixels = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        for a, b in zip(source.encode(pixels), target.encode(pixels), strict=True):
            assert torch.equal(a, b)


def test_a_model_of_other_classes_keeps_the_new_last_layers(tmp_path):
    source, file = network(n_classes=150, seed=1), tmp_path / "ade20k.pth"
    torch.save({"state_dict": published(source)}, file)
    target = network(seed=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    replace(TINY, pretrained=file).load_pretrained(target)
    after = target.state_dict()
    for name, value in published(source).items():
        assert torch.equal(after[name], before[name] if "conv_seg" in name else value)


def test_a_published_classifier_gives_the_encoder(tmp_path):
    source, file = network(seed=1), tmp_path / "internimage.pth"
    model = dict(source.backbone.state_dict()) | {
        "conv_head.0.weight": torch.zeros(192, 128, 1, 1),
        "conv_head.1.0.running_mean": torch.zeros(192),
        "head.weight": torch.zeros(1000, 192),
        "head.bias": torch.zeros(1000),
    }
    torch.save({"model": {f"module.{name}": value for name, value in model.items()}}, file)
    target = network(seed=2)
    heads = target.decode_head.state_dict()["bottleneck.conv.weight"].clone()
    replace(TINY, pretrained=file).load_pretrained(target)
    expected = source.backbone.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in target.backbone.state_dict().items())
    assert torch.equal(target.decode_head.state_dict()["bottleneck.conv.weight"], heads)


def test_weights_that_do_not_fit_are_user_errors(tmp_path):
    weights = published(network())
    name = "backbone.levels.0.blocks.0.dcn.offset.weight"
    cases = {
        "missing: " + name: {key: value for key, value in weights.items() if key != name},
        "unknown: backbone.extra": weights | {"backbone.extra": torch.zeros(1)},
        r"offset.weight \(2, 2\) instead of \(18, 16\)": weights | {name: torch.zeros(2, 2)},
        "decode_head.bottleneck": weights | {"decode_head.bottleneck.conv.weight": torch.zeros(1)},
        "and 1[0-9][0-9] more": {"backbone.patch_embed.conv1.weight": torch.zeros(1)},
        "holds no tensors": {},
    }
    for message, state in cases.items():
        torch.save({"state_dict": state}, tmp_path / "weights.pth")
        with pytest.raises(UserError, match=message):
            replace(TINY, pretrained=tmp_path / "weights.pth").load_pretrained(network())
    deeper = replace(TINY, depths=(1, 1, 3, 1), pretrained=tmp_path / "weights.pth")
    torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"missing: backbone.levels.2.blocks.2"):
        deeper.load_pretrained(network(learner=deeper))


def test_files_that_are_no_weights_are_user_errors(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "hacked"), "w"))

    (tmp_path / "garbage.pth").write_bytes(b"garbage")
    (tmp_path / "garbage.safetensors").write_bytes(b"garbage")
    torch.save({"state_dict": published(network()), "meta": Evil()}, tmp_path / "evil.pth")
    for name in ("garbage.pth", "garbage.safetensors", "evil.pth", "missing.pth", "missing.safetensors"):
        with pytest.raises(UserError, match=name):
            replace(TINY, pretrained=tmp_path / name).load_pretrained(network())
    assert not (tmp_path / "hacked").exists()


def test_layer_decay_slows_the_layers_near_the_input():
    made = network()
    assert made.layers_above("decode_head.conv_seg.weight") == 0
    assert made.layers_above("backbone.levels.3.blocks.0.gamma1") == 1
    assert made.layers_above("backbone.levels.0.blocks.0.gamma1") == 5
    assert made.layers_above("backbone.patch_embed.conv1.weight") == 6

    learner = replace(TINY, layer_decay=0.5, iterations=10, warmup=0, learning_rate=1.0, weight_decay=0.1)
    descent = learner.descent(made, torch.ones(5).numpy(), torch.device("cpu"), Group())
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    seen = {}
    for group, share in zip(descent._optimiser.param_groups, descent._shares, strict=True):
        seen |= {names[id(parameter)]: (share, group["weight_decay"]) for parameter in group["params"]}
    assert len(seen) == len(names)
    assert seen["backbone.patch_embed.conv1.weight"] == (0.5**6, 0.1)
    assert seen["backbone.patch_embed.conv1.bias"] == (0.5**6, 0)
    assert seen["backbone.levels.3.blocks.0.mlp.fc1.weight"] == (0.5, 0.1)
    assert seen["decode_head.fpn_bottleneck.conv.weight"] == (1, 0.1)
    assert seen["decode_head.fpn_bottleneck.bn.weight"] == (1, 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("channels", 15),
        ("depths", (4, 4, 18)),
        ("groups", (4, 8, 16, 31)),
        ("groups", (0, 8, 16, 32)),
        ("drop_path", 1.0),
        ("decoder_channels", 0),
        ("auxiliary_channels", 0),
    ],
)
def test_senseless_sizes_are_user_errors(option, value):
    with pytest.raises(UserError, match=f"learner.{option}"):
        build_learner(Component("upernet", {option: value}))
