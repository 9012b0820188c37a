"""The rivals' measures and choices beside those of two libraries of active learning, baal and scikit-activeml."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from skactiveml.pool import ProbCover, TypiClust, average_kl_divergence
from skactiveml.utils import MISSING_LABEL

from decomp.platform.learners.inference.decode import decode
from decomp.platform.learners.inference.fold import Fold
from decomp.platform.predictions import LEVELS, Measure, Wanted
from decomp.platform.samplers.base import CandidateRegions
from decomp.platform.samplers.clustering import kmeans
from decomp.platform.samplers.coverage import NEIGHBOURS, ProbCoverRegions, TypiClustRegions, pure_squared_radius
from decomp.platform.samplers.stochastic import power, softmax, softrank

SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def heuristics():
    return pytest.importorskip("baal.active.heuristics", reason="baal is not installed: pip install 'decomp[baal]'")


def passes(seed, n_passes=5, n_classes=4, pixels=300):
    """Logits of several passes, shape (K, C, P); some sure, some not."""
    generator = torch.Generator().manual_seed(seed % 2**31)
    common = 3 * torch.randn((1, n_classes, pixels), generator=generator)
    return common + torch.randn((n_passes, n_classes, pixels), generator=generator)


def maps_of(logits, measure):
    """A measure of several passes, shape (P,), as shards compute it."""
    fold = Fold(entropies=True)
    for of_pass in logits:
        fold.add(of_pass)
    uncertainty = decode(fold.mean_logits(), Wanted(measure=measure), expected=fold.expected_entropy()).uncertainty
    return np.asarray(uncertainty.levels, float) * uncertainty.unit


def level(n_classes=4):
    """Uncertainty is kept in levels, so that a difference of two entropies may be off by one."""
    return 1.001 * np.log(n_classes) / LEVELS + 1e-6


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_mutual_information_is_the_mean_divergence_of_scikit_activeml(seed):
    logits = passes(seed)
    probabilities = logits.double().softmax(1).permute(0, 2, 1).numpy()  # (K, P, C)
    expected = average_kl_divergence(probabilities)
    np.testing.assert_allclose(maps_of(logits, Measure.MUTUAL_INFORMATION), expected, atol=level())


@pytest.mark.parametrize("seed", range(5))
def test_entropy_and_mutual_information_are_those_of_baal(seed, heuristics):
    logits = passes(seed)
    probabilities = logits.double().softmax(1).permute(2, 1, 0).numpy()  # (P, C, K)
    entropy, bald = (heuristic().compute_score(probabilities) for heuristic in (heuristics.Entropy, heuristics.BALD))
    np.testing.assert_allclose(maps_of(logits, Measure.ENTROPY), entropy, atol=level() / 2)
    np.testing.assert_allclose(maps_of(logits, Measure.MUTUAL_INFORMATION), bald, atol=level())
    np.testing.assert_allclose(maps_of(logits, Measure.EXPECTED_ENTROPY), entropy - bald, atol=level() / 2)


@pytest.mark.parametrize(
    ("noisy", "name"), [(power, "PowerSampling"), (softmax, "GibbsSampling"), (softrank, "RankBasedSampling")]
)
@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_stochastic_batches_are_drawn_from_the_distributions_of_baal(noisy, name, beta, heuristics):
    from baal.active.heuristics import stochastics

    scores = np.random.default_rng(1).random(6)
    theirs = getattr(stochastics, name)(heuristics.BALD(), query_size=1, temperature=1 / beta)
    shares = theirs._make_distribution(scores.copy())
    rng, n = np.random.default_rng(2), 6000
    drawn = [int(np.argmax(noisy(scores, beta, rng))) for _ in range(n)]
    assert chisquare(np.bincount(drawn, minlength=6), n * shares).pvalue > 1e-4


def candidates_of(rng, n, n_annotated, n_classes=3):
    """Candidate regions in clumps, whose predicted class goes with the clump."""
    clump = rng.integers(n_classes, size=n + n_annotated)
    features = (4 * clump[:, None] + rng.normal(size=(len(clump), 3))).astype(np.float32)
    image, uncertainty, drawn = np.zeros(n, np.int64), rng.random(n), np.full(n, -1)
    return CandidateRegions(image, uncertainty, drawn, features[:n], None, clump[:n], features[n:])


class Clusters:
    """A clustering that is given: scikit-activeml makes one itself, of another kind of start."""

    def __init__(self, labels, n_clusters=8):
        self.labels, self.n_clusters = labels, n_clusters

    def fit_predict(self, points):
        return self.labels


@given(SEEDS, st.integers(5, 60), st.integers(0, 8), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_typiclust_chooses_as_scikit_activeml_does_in_the_same_clusters(seed, n_candidates, n_annotated, n):
    rng = np.random.default_rng(seed)
    candidates = candidates_of(rng, n_candidates, n_annotated)
    points = np.concatenate([candidates.features, candidates.annotated])
    assume(n < n_candidates)
    labels = kmeans(points, n_annotated + n, np.random.default_rng(seed))
    sizes = np.bincount(labels)
    sizes[np.unique(labels[n_candidates:])] = 0
    in_order = np.sort(sizes)[::-1]
    assume(len(sizes) >= n and in_order[n - 1] > 0)
    assume(len(sizes) == n or in_order[n - 1] > in_order[n])  # ties between clusters are broken at random
    known = np.concatenate([np.full(n_candidates, MISSING_LABEL), np.zeros(n_annotated)])
    theirs = TypiClust(cluster_algo=Clusters, cluster_algo_dict={"labels": labels}, k=NEIGHBOURS, random_state=0)
    chosen = TypiClustRegions().select(candidates, n, np.random.default_rng(seed))
    queried, utilities = theirs.query(points.astype(np.float64), known, batch_size=n, return_utilities=True)
    assert sorted(labels[chosen]) == sorted(labels[queried])
    of_cluster = {labels[query]: utility for query, utility in zip(queried, utilities, strict=True)}
    for number in chosen:  # two regions alone in their cluster are equally typical
        typicality = of_cluster[labels[number]]
        assert typicality[number] == pytest.approx(np.nanmax(typicality), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The maximum purity")  # theirs is not asked for
@given(SEEDS, st.integers(3, 40), st.integers(0, 5), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_every_choice_of_probcover_covers_most_as_scikit_activeml_sees_it(seed, n_candidates, n_annotated, n):
    rng = np.random.default_rng(seed)
    candidates = candidates_of(rng, n_candidates, n_annotated)
    assume(n <= n_candidates)
    radius = np.sqrt(pure_squared_radius(candidates.features.astype(float), candidates.predicted_class, 0.95))
    points = np.concatenate([candidates.features, candidates.annotated]).astype(np.float64)
    known = np.concatenate([np.full(n_candidates, MISSING_LABEL), np.zeros(n_annotated)])
    for number in ProbCoverRegions().select(candidates, n, np.random.default_rng(seed)):
        # Their balls are closed, ours open: no distance lies between the radius and the next smaller number.
        theirs = ProbCover(n_classes=3, deltas=[min(np.nextafter(radius, 0), 1e6)], random_state=0)
        _, (utilities,) = theirs.query(points, known, return_utilities=True)
        assert utilities[number] == np.nanmax(utilities)
        known[number] = 0
