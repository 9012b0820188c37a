"""Experiment files and overrides that nobody would write; ``DECOMP_FUZZ=3000`` tries so many."""

import os
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decomp.experiments.schema import load_experiment
from decomp.platform.components import build_partition, build_selectors
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

EXAMPLES = int(os.environ.get("DECOMP_FUZZ", "200"))
FILES = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
WORD = re.compile(r"[\w.-]+")
WORDS = sorted({word for file in FILES for line in file.open() for word in WORD.findall(line.partition("#")[0])})
ODD = """null ~ no .inf .nan -1 1e999 1e-3 010 1:30 [] {} [[ } &a *a ${a ${a} ${oc.env:HOME} ??? !!set
!!python/name:os.x ? | > ' : :x a:b x: os:system ..a:b decomp.platform.learners.base:Learner << = % @ - , #"""
STRANGE = ["\t", "\0", "\x1b[1m", "9" * 5000, "[" * 400, "é" * 300]
values = st.sampled_from([*WORDS, *ODD.split(), *STRANGE]) | st.text(max_size=12)
changes = st.lists(
    st.tuples(st.integers(0, 2**16), st.sampled_from(["drop", "twice", "word", "in"]), values), max_size=4
)
keys = st.lists(st.sampled_from([*WORDS, "[0]", "[9]", "__class__", ""]), min_size=1, max_size=4).map(".".join)
overridden = st.lists(st.tuples(keys, values).map("=".join) | values, max_size=2)


def mutated(text, changes):
    lines = text.splitlines()
    for where, how, value in changes:
        k = where % len(lines)
        places = [match.span() for match in WORD.finditer(lines[k])] if how == "word" else []
        places = places or [2 * (place,) for place in range(len(lines[k]) + 1)]
        begin, end = places[where // 7 % len(places)]
        changed = f"{lines[k][:begin]}{value}{lines[k][end:]}"
        lines[k : k + 1] = {"drop": [""], "twice": 2 * [lines[k]]}.get(how, [changed])
    return "\n".join(lines)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FILES), changes, overridden)
def test_whatever_is_written_is_an_experiment_or_a_mistake_of_the_user(tmp_path_factory, shipped, changes, overrides):
    folder = tmp_path_factory.getbasetemp()
    for file in FILES:
        if file is shipped or not (folder / file.name).exists():
            (folder / file.name).write_text(file.read_text())
    (folder / shipped.name).write_text(mutated(shipped.read_text(), changes), errors="surrogatepass")
    told = ""
    try:
        experiment = load_experiment(folder / shipped.name, overrides)
        for budget in experiment.budgets:
            if isinstance(budget.region, Component):
                build_partition(budget.region)
        for sampler in experiment.samplers:
            build_selectors(sampler)
    except UserError as error:
        told = str(error)
    assert not re.search(r"[\0\x1b]", told)
    (folder / shipped.name).write_text(shipped.read_text())
