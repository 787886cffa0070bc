"""deploy/kubernetes, rendered with Airflow's Helm chart and checked against the schemas of Kubernetes; no cluster.

    .venv/bin/python -m pip install helm-python-sdk==0.2.2 kubernetes-validate==1.37.0
    AIRFLOW_CHART=/path/to/the/unpacked/chart .venv/bin/python -m pytest tests/system/test_helm.py

Both are from PyPI, and none of the locked packages: Helm itself is in the first, 75 MB.
"""

import configparser
import os
from collections import Counter

import pytest
import yaml

from include.params import DRAIN_FORM
from tests.support.helm_values import CHART, KEYS, VARIANTS, merged, values

helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
if not os.environ.get("AIRFLOW_CHART"):
    pytest.skip("AIRFLOW_CHART names no unpacked chart", allow_module_level=True)

KUBERNETES = "1.37"
RUN = ("CronJob", "Deployment", "Job", "Pod", "StatefulSet")
SECRETS = {
    "AIRFLOW_CONN_AWS_SQS",
    "AIRFLOW_CONN_PII_MASKING",
    "AIRFLOW_CONN_WAREHOUSE",
    "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL",
}
EVICTED = "cluster-autoscaler.kubernetes.io/safe-to-evict"


@pytest.fixture(scope="module")
def chart():
    with helm.Chart.load(os.environ["AIRFLOW_CHART"]) as loaded:
        yield loaded


def render(chart, given):
    """All objects, and the pod that KubernetesExecutor starts for a task, by kind and name."""
    chart.validate_schema(given)
    files = chart.render(given, name="airflow", namespace="airflow")
    documents = [text for file, text in files.items() if not file.endswith("NOTES.txt")]
    objects = [each for text in documents for each in yaml.safe_load_all(text) if each]
    assert max(Counter((each["kind"], each["metadata"]["name"]) for each in objects).values()) == 1
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    if template := by_name["ConfigMap", "airflow-config"]["data"].get("pod_template_file.yaml"):
        by_name["Pod", "placeholder-name"] = yaml.safe_load(template)
    return by_name


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def objects(chart, variant):
    return render(chart, values(variant))


def pods(objects):
    """Kind, name → the spec of its pods."""
    for (kind, name), each in objects.items():
        if kind in RUN:
            yield (kind, name), each["spec"] if kind == "Pod" else each["spec"]["template"]["spec"]


def containers(objects):
    for (_, name), pod in pods(objects):
        for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
            yield f"{name}/{container['name']}", container


def worker(objects):
    """The pod in which tasks run, and its annotations."""
    if pod := objects.get(("Pod", "placeholder-name")):
        return pod["spec"], pod["metadata"]["annotations"]
    template = objects["Deployment", "airflow-worker"]["spec"]["template"]
    return template["spec"], template["metadata"]["annotations"]


def settings(objects):
    parser = configparser.RawConfigParser()
    parser.read_string(objects["ConfigMap", "airflow-config"]["data"]["airflow.cfg"])
    return parser


def test_the_chart_is_the_one_that_the_manual_installs(chart):
    assert (chart.name, chart.version) == ("airflow", CHART)


def test_each_key_of_ours_is_one_of_the_charts(chart):
    for path in KEYS:
        there = chart.values
        for key in path.split("."):
            assert key in there, path
            there = there[key]


def test_every_object_is_one_that_kubernetes_takes(objects, variant):
    """But for KEDA's ScaledObject, of which there is no schema here."""
    known = [each for each in objects.values() if each["apiVersion"] != "keda.sh/v1alpha1"]
    for each in known:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert len(known) > 15
    assert len(objects) - len(known) == (variant == "celery-keda.yaml")


def test_every_container_of_airflow_runs_the_one_image(objects, variant):
    images = Counter(container["image"] for _, container in containers(objects))
    whole = values(variant)
    ours = f"{whole['defaultAirflowRepository']}:{whole['defaultAirflowTag']}"
    others = {image for image in images if image != ours}
    assert all(image.startswith("redis:") for image in others)
    assert bool(others) == (variant == "celery-keda.yaml")
    assert images[ours] >= 8
    executor = settings(objects)["kubernetes_executor"]
    assert f"{executor['worker_container_repository']}:{executor['worker_container_tag']}" == ours


def test_images_airflow_would_not_reach_the_pods_of_tasks(chart):
    """The trap: once this fails, docs/kubernetes.md need not warn of it."""
    given = values("kubernetes-executor.yaml")
    named = {"repository": given.pop("defaultAirflowRepository"), "tag": given.pop("defaultAirflowTag")}
    trapped = render(chart, merged(given, {"images": {"airflow": named}}))
    images = {name: container["image"] for name, container in containers(trapped)}
    assert images["airflow-scheduler/scheduler"] == f"{named['repository']}:{named['tag']}"
    assert images["placeholder-name/base"].startswith("apache/airflow:")


def test_the_secrets_reach_the_tasks_and_nobody_else(objects):
    have = {}
    for name, container in containers(objects):
        given = {one["name"]: one for one in container.get("env", []) if one["name"] in SECRETS}
        assert all("secretKeyRef" in one["valueFrom"] for one in given.values())
        assert container.get("envFrom", []) == []
        if given:
            have[name] = set(given)
    assert have.pop("airflow-api-server/api-server") == {"AIRFLOW_CONN_WAREHOUSE"}
    assert have in ({"airflow-worker/worker": SECRETS}, {"placeholder-name/base": SECRETS})


def test_no_object_holds_a_secret(objects):
    assert not [name for kind, name in objects if kind == "Secret"]
    for _, container in containers(objects):
        for one in container.get("env", []):
            assert "value" not in one or not any(word in one["name"] for word in ("CONN", "KEY", "SECRET", "PASSWORD"))
    assert not [
        option
        for section in settings(objects).values()
        for option in section
        if option in ("fernet_key", "secret_key", "jwt_secret", "sql_alchemy_conn", "broker_url", "result_backend")
    ]


def test_who_signs_tokens_alone_has_the_key(objects):
    have = {
        name
        for name, container in containers(objects)
        for one in container.get("env", [])
        if one["name"] == "AIRFLOW__API_AUTH__JWT_SECRET"
    }
    assert have == {"airflow-api-server/api-server", "airflow-scheduler/scheduler"}


def test_a_drain_has_time_to_finish_before_its_pod_is_killed(objects, variant):
    pod, annotations = worker(objects)
    assert pod["terminationGracePeriodSeconds"] >= DRAIN_FORM["max_seconds"].value + 60
    assert annotations[EVICTED] == ("true" if variant == "celery-keda.yaml" else "false")
    if variant == "celery-keda.yaml":  # else SIGTERM goes to the tasks as well as to the worker that waits for them
        [one] = [one for one in pod["containers"][0]["env"] if one["name"] == "DUMB_INIT_SETSID"]
        assert one["value"] == "0"


def test_of_each_component_of_several_pods_one_may_be_taken_away(objects, variant):
    budgets = {name: each["spec"] for (kind, name), each in objects.items() if kind == "PodDisruptionBudget"}
    workers = {"airflow-worker-pdb"} if variant == "celery-keda.yaml" else set()
    assert budgets.keys() == {"airflow-api-server-pdb", "airflow-scheduler-pdb"} | workers
    for name, budget in budgets.items():
        assert budget["maxUnavailable"] == 1
        deployment = objects["Deployment", name.removesuffix("-pdb")]["spec"]
        assert budget["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
        assert deployment.get("replicas", 2) == 2  # KEDA's are up to it


def test_what_is_not_used_is_not_there(objects):
    names = {name for _, name in objects}
    unused = ("triggerer", "statsd", "create-user", "postgresql", "webserver", "flower")
    assert not [name for name in names if any(word in name for word in unused)]


def test_keda_counts_the_tasks_and_finds_the_workers(objects, variant):
    if variant != "celery-keda.yaml":
        pytest.skip("KubernetesExecutor needs no KEDA")
    spec = objects["ScaledObject", "airflow-worker"]["spec"]
    target, [trigger] = spec["scaleTargetRef"], spec["triggers"]
    container = objects[target["kind"], target["name"]]["spec"]["template"]["spec"]["containers"][0]
    assert container["name"] == target["envSourceContainerName"]
    assert trigger["metadata"]["connectionFromEnv"] in {one["name"] for one in container["env"]}
    assert f"/ {settings(objects)['celery']['worker_concurrency']})" in trigger["metadata"]["query"]
    assert "replicas" not in objects["Deployment", "airflow-worker"]["spec"]


def test_every_container_says_what_memory_it_takes(objects):
    for name, container in containers(objects):
        assert container["resources"]["requests"]["memory"], name
        assert container["resources"]["limits"]["memory"], name


def test_every_pod_is_restricted_as_kubernetes_calls_it(objects):
    for (_, name), pod in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any("hostPath" in volume for volume in pod.get("volumes", [])), name
    for name, container in containers(objects):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name


def test_tasks_have_the_role_and_no_token_of_kubernetes(objects, variant):
    account = objects["ServiceAccount", worker(objects)[0]["serviceAccountName"]]
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("role/user-logins-workers")
    launches = [name for kind, name in objects if kind == "RoleBinding" and "launcher" in name]
    assert bool(launches) == (variant == "kubernetes-executor.yaml")


def test_airflow_reaches_its_own_api_server(objects):
    """NetworkPolicies without a rule let nobody in."""
    rules = objects["NetworkPolicy", "airflow-api-server-policy"]["spec"]["ingress"]
    labels = {"tier": "airflow"}
    assert {"podSelector": {"matchLabels": labels}} in rules[0]["from"]
    for each in objects.values():
        if each["kind"] in ("Deployment", "StatefulSet"):
            assert labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    host = settings(objects)["core"]["execution_api_server_url"].split("/")[2]
    name, port = host.split(":")
    assert [int(port)] == [each["port"] for each in objects["Service", name]["spec"]["ports"]]
