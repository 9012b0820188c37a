"""The cluster files, checked with Ray's own schema and for what they promise."""

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
LAUNCHED = ("cluster.yaml", "docs/cluster/aws.yaml")

launched = pytest.mark.parametrize("file", LAUNCHED)


def read(file):
    return yaml.safe_load((ROOT / file).read_text())


@launched
def test_rays_launcher_accepts_it(file):
    config = prepare_config(read(file))
    validate_config(config)
    assert any(kind["max_workers"] for kind in config["available_node_types"].values())


@launched
@pytest.mark.parametrize("key", ["idle_timeout_minute", "providers"])
def test_rays_schema_would_see_a_misspelt_key(file, key):
    with pytest.raises(Exception, match=key):
        validate_config(prepare_config(read(file) | {key: 1}))


@launched
def test_it_is_closed_pinned_and_gives_idle_nodes_back(file):
    config = prepare_config(read(file))
    starts = [line for key in ("head", "worker") for line in config[f"{key}_start_ray_commands"] if "ray start" in line]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any("--constraint constraints.txt" in line for line in config["worker_setup_commands"])
    assert any("--constraint constraints.txt" in line for line in config["head_setup_commands"])
    assert 0 < config["idle_timeout_minutes"] <= 60
    assert all(kind.get("min_workers", 0) == 0 for kind in config["available_node_types"].values())


def test_kuberay_accepts_it():
    resource = read("docs/cluster/kuberay.yaml")
    config = _derive_autoscaling_config_from_ray_cr(resource)
    validate_config(config)
    spec = resource["spec"]
    assert spec["rayVersion"] == version("ray")
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert config["idle_timeout_minutes"] == 15
    workers = config["available_node_types"]["gpu"]
    assert (workers["min_workers"], workers["max_workers"]) == (0, 8)
    assert workers["resources"]["GPU"] == 1


def test_the_constraints_name_no_host_and_pin_everything():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "/" not in line for line in lines if line and not line.startswith("#"))
