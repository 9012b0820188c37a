import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from decomp.experiments.plan import make_plan
from decomp.experiments.report.power import least_corrected_p
from decomp.experiments.report.statistics import LEVEL
from decomp.experiments.schema import AnnotationSeconds, load_experiment
from decomp.experiments.written import interpolated
from decomp.platform.components import stated_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.passes import Passes
from decomp.platform.spec import RunSpec

FOLDER = Path(__file__).parents[2] / "experiments"
SHIPPED = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_experiments_are_valid(file):
    assert load_experiment(file).name == file.stem


KEYS = {
    "bracs-7-classes": "c785303ed1c3",
    "bracs-images": "51184e2da0fe",
    "bracs": "bcd5b58ef66f",
    "cityscapes-budgets": "84047d29ed38",
    "cityscapes-images": "dd89df2b3ddf",
    "cityscapes-tau": "06011e0acb94",
    "cityscapes": "32fbc753d6b8",
    "digits-budgets": "130ec8f8919c",
    "digits-images": "c164156708c2",
    "digits-regions": "705d7420b981",
    "digits-tau": "283d53a62125",
    "digits": "91582c9f197a",
    "kits23": "4b1ee2019e96",
    "phantom": "d152de55409a",
    "slides": "65e28123d0f4",
}
"""Digests of all keys of the shipped experiments, for data of one fingerprint."""


@pytest.mark.parametrize("name", KEYS)
def test_runs_of_the_shipped_experiments_are_found_again(name):
    """A key that changes starts runs anew; CHANGELOG.md must say so."""
    experiment = load_experiment(FOLDER / f"{name}.yaml")
    learner, warm = stated_learner(experiment.learner), experiment.warm_start
    runs = [
        RunSpec("run", experiment.dataset, "data", learner, 3, 1, warm, budget=budget.of_cycle, sampler=sampler)
        for budget in experiment.budgets
        for sampler in experiment.samplers
    ]
    reference = replace(runs[0], kind="reference", sampler=None, budget=None, warm_start=False)
    keys = [spec.key for spec in (*runs, *(run.first for run in runs), reference)]
    assert hashlib.sha256(" ".join(keys).encode()).hexdigest()[:12] == KEYS[name]


def test_overrides_replace_values(toy_file):
    experiment = load_experiment(
        toy_file, ["samplers=[decomp,rand]", "seeds=10", "budgets[0].cycles=9", "learner={name: mine, depth: 3}"]
    )
    assert [sampler.name for sampler in experiment.samplers] == ["decomp", "rand"]
    assert experiment.seeds == list(range(10))
    assert experiment.budgets[0].cycles == 9
    assert experiment.learner.options == {"depth": 3}


@pytest.mark.parametrize(
    ("entry", "name", "images", "regions"),
    [
        ("badge", "badge", "uncertainty", "badge"),
        ("{images: uncertainty, regions: uncertainty}", "uncert", "uncertainty", "uncertainty"),
        ("{images: uncertainty, regions: decomposition}", "uncert_decomp", "uncertainty", "decomposition"),
        ("{images: random, regions: decomposition}", "rand_decomp", "random", "decomposition"),
        ("{images: decomposition, regions: core-set}", "decomp_divers-core-set", "decomposition", "core-set"),
        ("{images: 'm:Mine', regions: random}", "m-Mine_rand", "m:Mine", "random"),
        ("{sampler: decomp, tau: 0.3}", "decomp_tau-0.3", "decomposition", "decomposition"),
        ("{sampler: decomp, tau: {2: 0.5, 9: 0.7}}", "decomp_tau-0.5-0.7", "decomposition", "decomposition"),
        ("{sampler: bald, reselect_below: 0.6}", "bald_reselect-below-0.6", None, None),
        ("{sampler: bald, uncertainty: entropy}", "bald_entropy", None, None),
        ("{sampler: clasp-pe, background: sky}", "clasp-pe_without-sky", None, None),
        ("{sampler: decomp, background: sky, emphasis: {car: 2}}", "decomp_car-x2_without-sky", None, None),
        ("{sampler: uncert, uncertainty: margin}", "uncert_margin", "uncertainty", "uncertainty"),
        ("{images: uncertainty, regions: {name: badge, seeding: kmeans++}}", "badge_seeding-kmeanspp", None, None),
        ("{name: x, images: random, regions: random}", "x", "random", "random"),
    ],
)
def test_a_sampler_is_one_of_the_papers_or_a_pair_named_as_in_its_ablations(toy_file, entry, name, images, regions):
    (sampler,) = load_experiment(toy_file, [f"samplers=[{entry}]"]).samplers
    spec = sampler
    assert spec.name == name
    if images:
        assert (spec.images.name, spec.regions.name) == (images, regions)


def test_the_method_of_passes_stands_for_five_of_them(toy_file):
    assert load_experiment(toy_file, ["passes=mc-dropout"]).passes == Passes("mc-dropout", 5, "first")


def test_tau_may_be_a_schedule(toy_file):
    (sampler,) = load_experiment(toy_file, ["samplers=[{sampler: decomp, tau: {9: 0.7, 2: 0.5}}]"]).samplers
    assert [sampler.tau_of(cycle) for cycle in (1, 2, 8, 9, 40)] == [0.5, 0.5, 0.5, 0.7, 0.7]


def test_a_region_is_a_window_or_a_part_of_a_partition(toy_file):
    def region(text):
        return load_experiment(toy_file, [f"budgets[0].region={text}"]).budgets[0]

    assert region("[1, 8, 9]").region == (1, 8, 9)
    assert region("[1, 8, 9]").label == "2x3-1x8x9"
    assert region("{name: slic, segments: 40}").region == Component("slic", {"segments": 40})
    assert region("{name: slic, segments: 40}").label == "2x3-slic-40"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sedes=3", r"unknown key 'sedes' \(did you mean 'seeds'\?\)"),
        ("resources.gpu=2", r"unknown key 'resources.gpu' \(did you mean 'gpus'\?\)"),
        ("budgets[0].n_imag=2", r"unknown key 'budgets\[0\].n_imag' \(did you mean 'n_image'\?\)"),
        ("samplers=[decmp]", r"samplers\[0\].sampler: unknown sampler 'decmp' \(did you mean 'decomp'\?\)"),
        ("samplers=[5]", r"samplers\[0\]: give keys and values, got 5"),
        ("learner={name: mine, 1: 2}", "learner: the name of an option is text, not 1"),
        ("learner={name: mine, name: unet}", "the key 'name' is given twice"),
        ("learner={? [1] : 2}", "a key is text, not a list or mapping"),
        ("learner={name: mine, x: '${a'}", "interpolation"),
        (
            "learner={name: mine, x: '${nothing.there}'}",
            r"toy.yaml: learner.x: an interpolation .* replaced: Interpolation key 'nothing.there' not found\.$",
        ),
        ("learner=*a", "undefined alias"),
        ("learner=!!python/object/apply:os.getcwd []", "is no type that a value may have"),
        ("learner.x=!!binary aGk=", "'binary' is no type that a value may have"),
        ("learner=[" + 2000 * "[", "nested too deeply"),
        ("learner={x: " + 60 * "[" + 60 * "]" + "}", "nested more than 50 deep"),
        ("learner=&a [*a]", "nested more than 50 deep"),
        ("learner=a\tb", "cannot start any token"),
        ("learner=\0", "special characters are not allowed"),
        ("__dict__={}", "unknown key '__dict__'"),
        ("=3", "'' is no key"),
        ("a..b=3", "'a..b' is no key"),
        ("samplers.x=rand", r"samplers is a list of 2; name a place in it, like samplers\[0\]"),
        ("samplers[2]=rand", "samplers is a list of 2"),
        ("warm_start.x=1", "input should be a valid boolean"),
        ("budgets[0].cycles.x=1", "budgets.0.cycles is 5, which has no keys"),
        ("budgets[0].cycles=1000000000000", "less than or equal to 100000"),
        ("seeds=1000000000", r"seeds: there are at most 10,000 seeds; to use this one alone write \[1000000000\]"),
        ("seeds=" + 6000 * "9", "is none of its kind"),
        ("samplers=[{sampler: decomp, emphasis: {dog: .inf}}]", "emphasis.dog: input should be a finite number"),
        (
            "samplers=[{sampler: decomp, emphasis: {dog: 1e308}}]",
            "emphasis.dog: input should be less than or equal to 1",
        ),
        ("samplers=[{sampler: decomp, tau: .nan}]", "tau: a confidence threshold is at least 0"),
        ("storage=~nosuchuser/x", "storage: there is no such home"),
        ("samplers=[{sampler: decomp, name: a b}]", r"samplers\[0\]: use up to 200 letters, digits"),
        ("samplers=[{sampler: decomp, name: first-cycle}]", "samplers: 'first-cycle' is a folder of other results"),
        ("samplers=[{sampler: decomp, name: " + 201 * "a" + "}]", r"samplers\[0\]: use up to 200 letters"),
        ("name=" + 201 * "a", "name: use up to 200 letters"),
        ("samplers=[]", "samplers: list should have at least 1 item"),
        ("samplers=[rand,rand]", "samplers: 'rand' is given twice"),
        ("seeds=many", "seeds: give the number of repeats, like 5, or a list of seeds, like .0, 3., got 'many'"),
        ("seeds=0", "seeds: give the number of repeats, like 5, or a list of seeds"),
        ("seeds=1.0", "seeds: give the number of repeats, like 5, or a list of seeds"),
        ("folds=[]", "folds: list should have at least 1 item"),
        ("3=x", r"unknown key '\[3\]'; keys here are name, dataset"),
        ("seeds=[1,1]", "seeds: 1 is given twice"),
        ("annotation_seconds.image=-1", "annotation_seconds.image: input should be greater than or equal to 0"),
        ("annotation_seconds.click=1e308", "annotation_seconds.click: input should be less than or equal to 1000000"),
        ("annotation_seconds.click=.inf", "annotation_seconds.click: input should be a finite number"),
        ("annotation_seconds.click=fast", "annotation_seconds.click: input should be a valid number"),
        ("annotation_seconds.clicks=2", r"'annotation_seconds.clicks' \(did you mean 'click'\?\)"),
        ("resources={gpus: 1.5}", "resources.gpus: give 0, a fraction of a single GPU from 0.0001 on, or a whole"),
        ("resources={gpus: 0.00001}", "resources.gpus: give 0, a fraction of a single GPU from 0.0001 on"),
        ("resources={cpus: .inf}", "resources.cpus: input should be a finite number"),
        (
            "resources={autoscaling: true}",
            "toy.yaml: resources.autoscaling: say with resources.runs_at_once how far",
        ),
        ("seeds=[-1]", r"seeds\[0\]: input should be greater than or equal to 0, got -1"),
        ("budgets[0].n_image='2'", r"budgets\[0\].n_image: input should be a valid integer, got '2'"),
        ("budgets[0].cycles=0", r"budgets\[0\].cycles: input should be greater than or equal to 1"),
        ("budgets=[{n_image: 1}]", r"the key 'budgets\[0\].n_region' is missing; add it"),
        ("warm_start=maybe", "warm_start: input should be a valid boolean, got 'maybe'"),
        ("samplers=[{sampler: decomp, tau: 1.5}]", r"samplers\[0\].tau: a confidence threshold is at least 0"),
        ("samplers=[{sampler: decomp, tau: {0: 0.5}}]", "tau: 0 is no cycle"),
        ("samplers=[{sampler: decomp, tau: high}]", "tau: give a number, or a schedule"),
        (
            "samplers=[{sampler: decomp, emphasis: {dog: 0}}]",
            "emphasis.dog: input should be greater than or equal to 0.000001",
        ),
        ("samplers=[{sampler: uncert, uncertainty: marign}]", r"unknown measure \(did you mean 'margin'\?\)"),
        ("samplers=[{sampler: decomp, images: random}]", "either sampler, or images and regions, not both"),
        ("samplers=[{images: random}]", "give a sampler .*, or both images and regions"),
        ("budgets[0].region=[4, 0]", r"region: give pixels per axis"),
        ("budgets[0].region=16", r"region: give pixels per axis"),
        ("budgets[0].region={segments: 9}", r"the key 'budgets\[0\].region.name' is missing; add it"),
        ("passes={method: dropout}", "passes.method: input should be 'ensemble', 'mc-dropout' or"),
        ("passes={method: ensemble, n: 1}", "passes.n: input should be greater than or equal to 2, got 1"),
        ("passes={method: ensemble, k: 3}", r"unknown key 'passes.k'; keys here are method, n, evaluate"),
        ("name=a/b", "name: use up to 200 letters, digits"),
        ("storage=ftp://host", "storage: give a folder that all nodes see, or s3://bucket/prefix"),
        ("seeds", "'seeds': an override is written key=value"),
        ("seeds=[1", "expected ',' or ']'"),
    ],
)
def test_mistakes_get_one_clear_sentence(toy_file, override, message):
    with pytest.raises(UserError, match=message) as caught:
        load_experiment(toy_file, [override])
    assert "Traceback" not in str(caught.value)


def test_all_mistakes_are_reported_at_once(toy_file):
    with pytest.raises(UserError) as caught:
        load_experiment(toy_file, ["sedes=3", "warm_start=maybe", "budgets[0].cycles=0"])
    assert len(str(caught.value).splitlines()) == 3
    assert all(line.startswith(str(toy_file)) for line in str(caught.value).splitlines())


def test_all_mistakes_of_a_sampler_are_reported_at_once(toy_file):
    with pytest.raises(UserError) as caught:
        load_experiment(toy_file, ["samplers=[{sampler: decmp, tau: 5, emphasys: {}}]"])
    assert sorted(re.findall(r"samplers\[0\]\.(\w+)", str(caught.value))) == ["emphasys", "sampler", "tau"]


def test_an_override_means_what_the_file_means(toy_file):
    written = ["1e-3", "5e-1", "'1e-3'", "a #2", "#804080", "'#'", "2024-01-01", "no", "010"]
    overridden = load_experiment(toy_file, [f"learner.o{k}={value}" for k, value in enumerate(written)])
    assert list(overridden.learner.options.values()) == [
        0.001, 0.5, "1e-3", "a #2", "#804080", "#", "2024-01-01", False, 8
    ]  # fmt: skip
    options = "\n".join(f"  o{k}: {value}" for k, value in enumerate(written) if "#" not in value)
    file = toy_file.with_name("more.yaml")
    file.write_text(f"extends: toy.yaml\nlearner:\n  name: helpers.toys:Centroids\n{options}\n")
    of_file = load_experiment(file).learner.options
    assert of_file == {key: overridden.learner.options[key] for key in of_file}


@pytest.mark.parametrize("others", [[], ["seeds=2"]])
def test_a_list_that_the_shell_split_gets_a_hint(toy_file, others):
    with pytest.raises(UserError, match=r"split this at a blank; put it in quotes: 'samplers=\[decomp, rand\]'"):
        load_experiment(toy_file, [*others, "samplers=[decomp,", "rand]", *others])


def test_names_that_yaml_takes_for_something_else_stay_text(toy_file):
    dataset = "dataset={name: folder, root: x, codes: {null: 0, no: 1, yes: 2, on: 3, 07: 4, 1.0: 5, ~: 6}}"
    codes = load_experiment(toy_file, [dataset]).dataset.options["codes"]
    assert list(codes) == ["null", "no", "yes", "on", "07", "1.0", "~"]
    (sampler,) = load_experiment(toy_file, ["samplers=[{sampler: decomp, emphasis: {no: 2, 0: 3}}]"]).samplers
    assert sampler.emphasis == {"no": 2.0, "0": 3.0}


def test_anchors_and_merged_mappings_are_read(tmp_path, toy_file):
    file = tmp_path / "more.yaml"
    file.write_text("extends: toy.yaml\nlearner: &a {name: mine, x: 1, y: 2}\nreference: {<<: [*a], y: 3}\n")
    assert load_experiment(file).reference == {"name": "mine", "x": 1, "y": 3}


def test_the_short_form_takes_options(toy_file):
    experiment = load_experiment(toy_file, ["samplers[1].tau=0.5", "reference=null", "reference.jitter=2"])
    assert experiment.samplers[1].name == "decomp_tau-0.5"
    assert experiment.reference == {"jitter": 2}


def doubling(begin, line):
    """A file whose every value holds the one before twice."""
    return begin + b"".join(line % (n + 1, n, n) for n in range(60))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"name: \0", "special characters"),
        (b"a:\n\tb: 1", "no valid YAML in line 2"),
        (b"a: 1\n---\nb: 2", "another document"),
        (b"a: 1\na: 2", "in line 2: the key 'a' is given twice"),
        (b"#" * 1_000_001, "at most 1,000,000"),
        (b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c + 1, c + 1, *(7 * [c])) for c in range(97, 110)
        ), "more than 10,000 values"),
        (doubling(b"learner:\n  a0: ha\n", b"  a%d: '${learner.a%d}${.a%d}'\n"),
         r"interpolations \$\{...\} make learner.a16 longer than 1,000,000 characters; write out"),
        (doubling(b"a0: [1]\n", b"a%d: ['${a%d}', '${a%d}']\n"), "longer than"),
        (doubling(b"a0: ''\n", b"a%d: '${oc.select:a%d}${a%d}'\n"), "longer than"),
        (b"a: '" + 11 * b"${x.${y}}" + b"'", "more than 10 interpolations lie within others"),
        (b"extends: toy.yaml\nlearner: {name: mine, x: '${no.such}'}", "interpolation .* 'no.such' not found"),
        (b"extends: ''", "is no file"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(toy_file, content, message):
    file = toy_file.with_name("x.yaml")
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_experiment(file)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="is no file"):
            load_experiment(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "no valid YAML"),
        ("- a\n- b", "a mapping of keys"),
        ("", "is missing"),
        ("name: x", "'dataset' is missing"),
    ],
)
def test_files_that_are_no_experiment(tmp_path, text, message):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_experiment(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        load_experiment(tmp_path / "x.yaml")


def test_an_option_can_be_added_to_the_short_form(toy_file):
    text = toy_file.read_text()
    toy_file.write_text(text.replace("learner:\n  name: helpers.toys:Centroids", "learner: helpers.toys:Centroids"))
    assert toy_file.read_text() != text
    assert load_experiment(toy_file, ["learner.jitter=0.1"]).learner.options == {"jitter": 0.1}


def test_a_file_may_extend_another(toy_file, tmp_path):
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "more.yaml"
    file.write_text("extends: ../toy.yaml\nname: more\nsamplers: [badge]\nlearner: {name: mine}\n")
    more, toy = load_experiment(file, ["seeds=7"]), load_experiment(toy_file)
    assert (more.name, [sampler.name for sampler in more.samplers], len(more.seeds)) == ("more", ["badge"], 7)
    assert (more.dataset, more.budgets) == (toy.dataset, toy.budgets)
    assert more.learner == Component("mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nowhere.yaml", r"nowhere.yaml: there is no such file; .*x.yaml extends it"),
        ("extends: x.yaml", "extends itself"),
        ("extends: [a]", "extends: give the path"),
    ],
)
def test_what_cannot_be_extended(tmp_path, text, message):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_experiment(tmp_path / "x.yaml")


def test_annotation_seconds_may_be_given_in_part_and_as_whole_numbers(toy_file):
    assert load_experiment(toy_file).annotation_seconds == AnnotationSeconds()
    experiment = load_experiment(toy_file, ["annotation_seconds={click: 3, image: 0}"])
    assert experiment.annotation_seconds == AnnotationSeconds(image=0.0, click=3.0)


def test_annotation_seconds_are_no_part_of_a_run(toy_file):
    plans = [make_plan(load_experiment(toy_file, more)) for more in ([], ["annotation_seconds.click=30"])]
    assert [spec.key for spec in plans[0].specs] == [spec.key for spec in plans[1].specs]


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{training_workers: 2}", "2 of a run's workers cannot train together, since it has 1; lower it or raise"),
        ("{workers: 2, training_workers: 2, gpus: 0.5}", "need a GPU each; set resources.gpus to 1"),
    ],
)
def test_training_workers_must_be_workers_with_whole_gpus(toy_file, resources, message):
    with pytest.raises(UserError, match=message):
        load_experiment(toy_file, [f"resources={resources}"])
    both = load_experiment(toy_file, ["resources={workers: 2, training_workers: 2, gpus: 1}"]).resources
    assert (both.workers, both.training_workers) == (2, 2)


@pytest.mark.parametrize(
    ("written", "pairs"),
    [
        ("{against: decomp}", (("decomp", "rand"), ("decomp", "uncert"))),
        ("[[decomp, rand], [rand, uncert]]", (("decomp", "rand"), ("rand", "uncert"))),
        ("null", None),
    ],
)
def test_contrasts_are_pairs_or_one_sampler_against_the_others(toy_file, written, pairs):
    assert load_experiment(toy_file, ["samplers=[rand,decomp,uncert]", f"contrasts={written}"]).contrasts == pairs


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{against: decmp}", "no sampler is called 'decmp' (did you mean 'decomp'?); they are rand, decomp"),
        ("[[decomp, badge]]", "no sampler is called 'badge'"),
        ("[[decomp, decomp]]", "a pair is two different samplers"),
        ("[[decomp, rand], [rand, decomp]]", "each pair is given once"),
        ("[[decomp]]", "give {against: SAMPLER} or pairs"),
        ("{agianst: decomp}", "give {against: SAMPLER} or pairs"),
        ("[]", "give {against: SAMPLER} or pairs"),
        ("7", "give {against: SAMPLER} or pairs"),
        ("{against: [decomp]}", "no sampler is called ['decomp']"),
    ],
)
def test_contrasts_that_cannot_be_tested_are_refused(toy_file, written, message):
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        load_experiment(toy_file, [f"contrasts={written}"])
    assert str(refused.value).startswith(f"{toy_file}: contrasts: ")


def test_contrasts_are_no_part_of_a_run(toy_file):
    plans = [make_plan(load_experiment(toy_file, [f"contrasts={c}"])) for c in ("null", "{against: rand}")]
    assert [spec.key for spec in plans[0].specs] == [spec.key for spec in plans[1].specs]


PAPERS_OWN = {"bracs", "bracs-7-classes", "bracs-images", "cityscapes", "cityscapes-budgets", "cityscapes-images"}
PAPERS_OWN |= {"cityscapes-tau", "kits23"}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_experiments_can_conclude_or_say_why_not(file):
    experiment = load_experiment(file)
    assert experiment.contrasts
    if experiment.name in PAPERS_OWN:
        texts = [file.read_text(), (file.parent / f"{experiment.name.split('-')[0]}.yaml").read_text()]
        assert any("no difference can be" in " ".join(text.replace("#", " ").split()) for text in texts)
    elif experiment.name in ("phantom", "brain", "brain-3d"):
        assert re.search(r"to conclude anything: seeds=\d", file.read_text())
    else:
        folds = 2 if experiment.dataset.name == "phantom" else 1
        repeats = len(experiment.seeds) * folds
        assert least_corrected_p(repeats, len(experiment.contrasts)) <= LEVEL


def test_interpolations_that_repeat_values_are_replaced(tmp_path):
    values = {"a": {"b": "n"}, "key": "b", "all": ["${a.b}", "${.0}${a[b]}", "${a.${key}}"]}
    assert interpolated(tmp_path, values)["all"] == ["n", "nn", "n"]
