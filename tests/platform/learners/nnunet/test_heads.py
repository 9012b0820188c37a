import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decomp.platform.errors import UserError
from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.nnunet.heads import Exclusive, Nesting
from decomp.platform.predictions import Measure, Wanted

CLASSES = ("background", "kidney", "tumour", "cyst")
KITS = {"kidney_and_masses": (1, 2, 3), "masses": (2, 3), "tumour": (2,)}


def direct(heads: np.ndarray) -> np.ndarray:
    """Exclusive probabilities of KiTS23 by Sec. 2 of the method notes, in double precision."""
    k, m, t = 1 / (1 + np.exp(-heads.astype(np.float64)))
    m = np.minimum(m, k)
    t = np.minimum(t, m)
    return np.stack([1 - k, k - m, t, m - t])


def test_tumour_and_cyst_are_not_swapped() -> None:
    nesting = Nesting.of(CLASSES, KITS)
    assert nesting.exclusive == (1, 3, 2)
    description = nesting.dataset_json()
    assert description["regions_class_order"] == [1, 3, 2]
    assert description["labels"]["ignore"] == 4


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(-20, 20, width=32)))
def test_decoding_gives_the_probabilities_computed_directly(heads: np.ndarray) -> None:
    expected = direct(heads)
    wanted = Wanted(tau=0.7, measure=Measure.LEAST_CONFIDENCE, confidence=True)
    prediction = decode(Nesting.of(CLASSES, KITS).class_logits(torch.from_numpy(heads.copy())), wanted)
    assert prediction.confidence is not None
    np.testing.assert_allclose(prediction.confidence, expected.max(0), atol=1e-6)
    chosen = np.take_along_axis(expected, prediction.labels[None].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, expected.max(0), atol=1e-6)


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(-20, 20, width=32)))
def test_probabilities_sum_to_one_and_heads_stay_as_they_are(heads: np.ndarray) -> None:
    given = torch.from_numpy(heads.copy())
    logits = Nesting.of(CLASSES, KITS).class_logits(given)
    torch.testing.assert_close(logits.exp().sum(0), torch.ones(5), atol=1e-6, rtol=0)
    assert np.array_equal(given.numpy(), heads)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3, 4))))
def test_any_order_of_labels_is_understood(order: tuple[int, ...]) -> None:
    nested = {f"set {depth}": order[depth:] for depth in range(4)}
    nesting = Nesting.of(("background", "a", "b", "c", "d"), nested)
    assert nesting.exclusive == order
    heads = torch.full((4, 1), 9.0)
    for depth, label in enumerate(order):
        some = heads.clone()
        some[depth + 1 :] = -9
        assert nesting.class_logits(some).argmax(0).item() == label
    assert nesting.class_logits(-heads).argmax(0).item() == 0


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ({"all": (1, 2, 3), "none": ()}, "a nested class has no labels"),
        ({"all": (1, 2, 3)}, "'all'.* exactly one label more"),
        ({"all": (1, 2, 3), "tumour": (2,)}, "'all'.* exactly one label more"),
        ({"all": (1, 2, 3), "two": (1, 2), "other": (3,)}, "'two'.* must contain the next one"),
        ({"two": (1, 2), "one": (1,)}, "every class but the background"),
        ({"all": (0, 1, 2, 3), "three": (1, 2, 3), "masses": (2, 3), "tumour": (2,)}, "every class but the background"),
    ],
)
def test_what_is_not_nested_is_the_users_mistake(nested: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Nesting.of(CLASSES, nested)


def test_nan_is_not_hidden() -> None:
    heads = torch.zeros(3, 4)
    heads[1, 2] = torch.nan
    with pytest.raises(FloatingPointError):
        decode(Nesting.of(CLASSES, KITS).class_logits(heads), Wanted())


def test_one_region_alone_has_one_head() -> None:
    nesting = Nesting.of(("background", "tumour"), {"tumour": (1,)})
    outputs = torch.tensor([[-4.0, 0.5, 3.0]])
    expected = torch.stack([(-outputs[0]).sigmoid(), outputs[0].sigmoid()])
    torch.testing.assert_close(nesting.class_logits(outputs).exp(), expected)
    assert nesting.segmentation([[outputs[0]]], (3,)).tolist() == [0, 1, 1]
    assert nesting.labels() == {"labels": {"background": 0, "tumour": [1], "ignore": 2}, "regions_class_order": [1]}


@given(hnp.arrays(np.float16, (4, 6), elements=st.floats(-2, 2, width=16)))
def test_exclusive_classes_are_painted_as_nnunet_does(outputs: np.ndarray) -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    heads = Exclusive(4)
    description = heads.dataset_json()
    manager = LabelManager(description["labels"], None)
    assert not manager.has_regions
    assert (manager.num_segmentation_heads, manager.ignore_label) == (heads.count, heads.ignore)
    given = torch.from_numpy(outputs.copy())
    expected = manager.convert_logits_to_segmentation(given)
    assert np.array_equal(heads.segmentation([[head] for head in given], (6,)), expected)
    several = [given, given.flip(1)]
    (joined,) = heads.joined(several)
    mean = torch.stack([output.float().softmax(0) for output in several]).mean(0)
    torch.testing.assert_close(joined.exp(), mean)
    assert torch.equal(heads.class_logits(given), given)
