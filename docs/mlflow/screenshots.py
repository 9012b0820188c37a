"""Takes the pictures of README.md from MLflow's own pages, in headless Chromium.

    pip install playwright        # drives a Chromium that is installed already, e.g. apt-get install chromium
    decomp run experiments/digits.yaml dataset.train_scenes=60 dataset.test_scenes=24 seeds=2 \
        learner.iterations=40 reference.iterations=150 storage=STORAGE \
        "budgets=[{n_image: 10, n_region: 12, region: [16, 16], cycles: 5}, \
                  {n_image: 5, n_region: 24, region: [16, 16], cycles: 5}]"
    decomp ui experiments/digits.yaml storage=STORAGE
    python docs/mlflow/screenshots.py http://127.0.0.1:5000

The pictures go beside this file. Further runs of the experiment `digits` in the same storage would be on them, too.

    python -m decomp.experiments.bench.mirroring --keep
    python docs/mlflow/screenshots.py --many ADDRESS

takes those of ../benchmarks.md, and prints how long the pages of an experiment with many runs take to show.
"""

import argparse
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Locator, Page, sync_playwright

EXPERIMENT, SAMPLER, BUDGET, OTHER = "digits", "decomp", "10x12-16x16", "5x24-16x16"
MANY, OF_MANY = "mirroring", "2x2-16x16"
SIDEBAR = 200
WIDTH, HEIGHT = 1400, 900

# As a user leaves the page after having closed what pops up at the first visit.
VISITED = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of MLflow's pages")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the program; by default from the PATH")
    parser.add_argument("--many", action="store_true", help=f"the experiment {MANY!r} instead of {EXPERIMENT!r}")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(30_000)
        for key, value in VISITED.items():
            page.add_init_script(f"localStorage.setItem({key!r}, {value!r})")
        if options.many:
            Pages(page, options.address, MANY).take_many()
        else:
            Pages(page, options.address, EXPERIMENT).take_all()
        browser.close()


class Pages:
    """The pages of one experiment.

    Args:
        page: the browser's page.
        address: of MLflow.
        experiment: its name.
    """

    def __init__(self, page: Page, address: str, experiment: str) -> None:
        self._page = page
        self._address = address
        page.goto(f"{address}/#/experiments")
        page.get_by_role("link", name=experiment, exact=True).click()
        page.get_by_text("comparison", exact=True).wait_for()
        self._experiment = page.url.split("/experiments/")[1].split("/")[0]
        self._runs = f"{address}/#/experiments/{self._experiment}/runs"

    def take_all(self) -> None:
        """Every picture of README.md."""
        self._open("")
        self._expand(f"{SAMPLER} {BUDGET}")
        self._expand(f"rand {BUDGET}")
        self._take("runs", 560)
        self._open(f"params.budget = '{OTHER}'")
        self._take("filtered", 400)
        self._group("sampler")
        self._take("grouped", 600)
        self._open(f"tags.kind = 'mean' and params.budget = '{BUDGET}'", charts="miou_by")
        self._take("curves", HEIGHT)
        self._open(f"params.budget = '{BUDGET}'", charts="^miou$")
        self._group("sampler")
        self._take("grouped-curves", 700)
        self._artifact(_repeat(f"{SAMPLER} {BUDGET}"), "pictures", "cycle-0003.png")
        self._take("pictures", 420)
        self._artifact(f"{SAMPLER} {BUDGET}", "learning_curves.png")
        self._take("parent", 760)
        self._open("")
        self._page.get_by_role("link", name="comparison", exact=True).click()
        self._page.get_by_text("area under curve").first.wait_for()
        self._take("comparison", 600)
        self._artifact("comparison", "learning_curves.png")
        self._take("comparison-figure", 560)

    def take_many(self) -> None:
        """Every picture of benchmarks.md, each with the seconds until the page showed it."""
        means = f"tags.kind = 'mean' and params.budget = '{OF_MANY}'"
        with self._timed("the list of runs"):
            self._open("")
        with self._timed("the repeats of a sampler"):
            self._expand(f"{SAMPLER} {OF_MANY}")
        self._take("many-runs", 700)
        with self._timed("one budget of all repeats"):
            self._open(f"tags.kind = 'run' and params.budget = '{OF_MANY}'")
        with self._timed("means of all samplers as curves"):
            self._open(means, charts="miou_by")
        self._take("many-curves", HEIGHT)
        with self._timed("curves of all repeats"):
            self._open("tags.kind = 'run'", charts="^miou$")
        with self._timed("the same grouped by sampler"):
            self._group("sampler")
        with self._timed("a picture of chosen regions"):
            self._artifact(_repeat(f"{SAMPLER} {OF_MANY}"), "pictures", "cycle-0003.png")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        print(f"{what}: {self._settle() - start:.1f} s")

    def _open(self, condition: str, charts: str | None = None) -> None:
        """The list of runs that meet a condition, or their charts whose names contain a word."""
        mode = "&compareRunsMode=CHART" if charts else ""
        # The page would come back with the grouping of the last visit.
        own = "Object.keys(localStorage).filter(key => key.startsWith('MLflowLocalStorage'))"
        self._page.evaluate(f"{own}.forEach(key => localStorage.removeItem(key))")
        self._page.goto("about:blank")
        self._page.goto(f"{self._runs}?searchFilter={quote(condition)}{mode}")
        self._page.get_by_text("matching run").wait_for()
        if charts:
            self._page.get_by_placeholder("Search metric charts").fill(charts)
            self._drawn(self._page.locator(".js-plotly-plot .scatterlayer .trace"))

    def _expand(self, run: str) -> None:
        row = self._page.get_by_role("row").filter(has=self._page.get_by_role("link", name=run, exact=True))
        row.get_by_role("button").first.click()
        repeats = re.compile(re.escape(_repeat(run)).replace("s0", r"s\d+"))
        self._page.get_by_role("link", name=repeats).first.wait_for()

    def _group(self, by: str) -> None:
        self._page.get_by_role("button", name="Group by").click()
        self._page.locator("[data-radix-popper-content-wrapper]").get_by_text(by, exact=True).first.click()
        self._page.get_by_text("Group by: ").wait_for()
        self._page.keyboard.press("Escape")

    def _artifact(self, run: str, *path: str) -> None:
        """A picture among the files of a run."""
        query = {"experiment_ids": [self._experiment], "filter": f"attributes.run_name = '{run}'"}
        answer = self._page.request.post(f"{self._address}/api/2.0/mlflow/runs/search", data=query).json()
        self._page.goto(f"{self._runs}/{answer['runs'][0]['info']['run_id']}/artifacts")
        for name in path:
            self._page.get_by_text(name, exact=True).first.click()
        self._drawn(self._page.locator("img[src^='blob:'], img[src*='get-artifact'], .js-plotly-plot image"))

    def _drawn(self, what: Locator) -> None:
        what.first.wait_for()

    def _settle(self) -> float:
        """Wait until the page has looked the same for two seconds; since when it has."""
        looks, since = self._page.screenshot(), time.perf_counter()
        while time.perf_counter() - since < 2:
            self._page.wait_for_timeout(250)
            now = self._page.screenshot()
            if now != looks:
                looks, since = now, time.perf_counter()
        return since

    def _take(self, name: str, height: int) -> None:
        self._settle()
        file = Path(__file__).with_name(f"{name}.png")
        clip = {"x": SIDEBAR, "y": 0, "width": WIDTH - SIDEBAR, "height": height}
        self._page.screenshot(path=file, clip=clip)
        print(f"{file.name}: {file.stat().st_size // 1000} kB")


def _repeat(run: str) -> str:
    """The name of a parent's first repeat."""
    sampler, budget = run.split()
    return f"{sampler} s0 f0 {budget}"


if __name__ == "__main__":
    main()
