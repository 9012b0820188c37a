import pickle
from dataclasses import replace

import numpy as np
import pytest
from helpers.toys import Blobs

from decomp.platform.annotation.answered import Answers, LateAnswers, with_answers
from decomp.platform.annotation.query import Answer, Query
from decomp.platform.datasets.base import IGNORE

IMAGE = "train-000"


class Unlabelled(Blobs):
    labelled = False

    def labels(self, image):
        return np.full(self.shape(image), IGNORE, np.uint8)

    def image(self, image):
        return Blobs.image(Blobs(self.seed), image)


def query(number, rows, columns):
    return Query(f"cycle-0001-{number:03d}", IMAGE, (), (24, 32), (rows, columns))


def full(query, label):
    return Answer(query.id, np.full(query.size, label, np.uint8))


@pytest.fixture
def answers():
    return Answers()


def test_labels_hold_the_answers_and_nothing_else(answers):
    data = with_answers(Unlabelled(), answers)
    assert (data.labels(IMAGE) == IGNORE).all()
    asked = query(1, (2, 6), (3, 5))
    answers.put(asked, full(asked, 2))
    labels = data.labels(IMAGE)
    assert (labels[asked.slices] == 2).all()
    assert (labels != IGNORE).sum() == 8
    assert (data.labels("train-001") == IGNORE).all()


def test_only_the_pixels_of_a_region_are_labelled(answers):
    inside = np.eye(4, dtype=bool)
    asked = replace(query(1, (0, 4), (0, 4)), mask=inside)
    answers.put(asked, full(asked, 1))
    assert np.array_equal(with_answers(Unlabelled(), answers).labels(IMAGE)[:4, :4] == 1, inside)


def test_the_last_answer_counts_and_a_skip_takes_it_back(answers):
    data, asked = with_answers(Unlabelled(), answers), query(1, (0, 4), (0, 4))
    for label in (1, 3):
        answers.put(asked, full(asked, label))
    assert (data.labels(IMAGE)[:4, :4] == 3).all()
    answers.put(asked, Answer(asked.id, None, "blurred"))
    assert (data.labels(IMAGE) == IGNORE).all()


def test_it_is_the_same_data_set_in_all_else(answers):
    plain = Unlabelled(seed=3)
    data = with_answers(plain, answers)
    assert isinstance(data, Unlabelled)
    assert (data.ids("train", 0), data.fingerprint(), data.seed) == (plain.ids("train", 0), plain.fingerprint(), 3)
    assert np.array_equal(data.image(IMAGE), plain.image(IMAGE))
    with pytest.raises(AttributeError):
        data.seed = 4


def test_it_travels_with_its_answers(answers):
    asked = query(1, (0, 4), (0, 4))
    answers.put(asked, full(asked, 2))
    there = pickle.loads(pickle.dumps(with_answers(Unlabelled(), answers)))
    assert (there.labels(IMAGE)[:4, :4] == 2).all()


def test_answers_may_be_read_when_they_are_asked_for(answers):
    asked, reads = query(1, (0, 4), (0, 4)), []
    answers.put(asked, full(asked, 2))
    late = LateAnswers()
    data = with_answers(Unlabelled(), late)
    late.load = lambda: reads.append(1) or answers
    assert reads == []
    for _ in range(2):
        assert (data.labels(IMAGE)[:4, :4] == 2).all()
    assert reads == [1]
