"""No legend of any figure covers data, however many samplers there are."""

import pytest
from helpers.fake_runs import Tiny, fake_reference, fake_run

from decomp.experiments.report import figures
from decomp.experiments.report.comparison import compare
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.page_building import analysis_sections
from decomp.experiments.report.run_history import read_histories
from decomp.platform.grid import Budget

KNOWN = ("rand", "uncert", "decomp", "badge", "divers-cluster", "divers-core-set")
NAMES = (*KNOWN, *(f"{images}_{regions}" for images in KNOWN[:2] for regions in KNOWN[3:]))


@pytest.fixture
def laid_out(monkeypatch):
    """Every figure that is rendered, laid out instead of drawn, which takes a tenth of the time."""
    found = []

    class Layout:
        def __init__(self, figure):
            self.figure = figure

        def print_png(self, stream, metadata):
            self.figure.draw_without_rendering()
            found.append(self.figure)

        def print_svg(self, stream, metadata):
            pass

    monkeypatch.setattr(figures, "FigureCanvasAgg", Layout)
    monkeypatch.setattr(figures, "FigureCanvasSVG", Layout)
    return found


def legends(figure):
    return [*figure.legends, *(panel.get_legend() for panel in figure.axes if panel.get_legend())]


@pytest.mark.parametrize("samplers", [1, 3, 6, 10, 12])
def test_no_legend_lies_over_data_or_leaves_the_figure(laid_out, tmp_path, samplers):
    runs = [fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name) for name in NAMES[:samplers]]
    histories = read_histories([*runs, fake_reference(tmp_path, 0.6)])
    comparison = compare(histories, "miou")
    learning_curve_drawing(comparison)
    analysis_sections(histories, Tiny(), comparison)
    assert sum(bool(legends(figure)) for figure in laid_out) >= 4
    for figure in laid_out:
        for legend in legends(figure):
            box = legend.get_window_extent()
            assert not any(box.overlaps(panel.get_window_extent()) for panel in figure.axes if panel.axison)
            assert figure.bbox.x0 <= box.x0
            assert box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0
            assert box.y1 <= figure.bbox.y1


def test_budgets_side_by_side_share_a_legend(laid_out, tmp_path):
    runs = [
        fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, budget=Budget(n, 2, (4, 4)))
        for n in (1, 2, 3)
        for name in NAMES[:10]
    ]
    learning_curve_drawing(compare(read_histories(runs), "miou"))
    ((legend,),) = [legends(figure) for figure in laid_out]
    assert [text.get_text() for text in legend.get_texts()] == list(NAMES[:10])
    box = legend.get_window_extent()
    assert not any(box.overlaps(panel.get_window_extent()) for panel in laid_out[0].axes if panel.axison)
