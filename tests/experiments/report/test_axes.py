import pytest

from decomp.experiments.report.axes import axes_of, find_axis
from decomp.experiments.schema import AnnotationSeconds
from decomp.platform.errors import UserError
from decomp.platform.storage.records import Annotated

ANNOTATED = Annotated(3, 0.25, 40, 1000, 0.0125, (600, 400), openings=6, clicks=90)


@pytest.mark.parametrize("metric", ["miou", "dice", "weighted_f1"])
def test_every_axis_measures_its_own(metric):
    seconds = AnnotationSeconds(image=100.0, region=20.0, click=3.0)
    amounts = {axis.name: axis.amount(ANNOTATED) for axis in axes_of(metric, seconds)}
    assert amounts == {
        "share": 0.0125,
        "image_share": 0.25,
        "openings": 6,
        "regions": 40,
        "clicks": 90,
        "hours": pytest.approx((100 * 6 + 20 * 40 + 3 * 90) / 3600),
    }


def test_slides_come_first_where_a_region_is_a_roi():
    assert [axes_of(metric)[0].name for metric in ("miou", "dice", "weighted_f1")] == ["share", "share", "image_share"]


def test_only_shares_are_percentages():
    shown = {axis.name: axis.text(axis.amount(ANNOTATED)) for axis in axes_of("miou", AnnotationSeconds(0, 0, 40_000))}
    assert shown == {
        "share": "1.25 %",
        "image_share": "25.00 %",
        "openings": "6",
        "regions": "40",
        "clicks": "90",
        "hours": "1,000.00 h",
    }


def test_an_unknown_axis_is_a_mistake_that_names_the_known_ones():
    with pytest.raises(UserError, match=r"'clix' \(did you mean 'clicks'\?\); known are share, image_share"):
        find_axis(axes_of("miou"), "clix")
