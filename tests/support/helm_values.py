"""The values of deploy/kubernetes, merged as by Helm: a mapping adds to what is there, anything else replaces it."""

from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "deploy/kubernetes"
VARIANTS = ("kubernetes-executor.yaml", "celery-keda.yaml")
CHART = "1.22.0"

# The chart's keys that we use, taken from its values.yaml. It refuses an unknown key, but not at the top level.
KEYS = {
    "airflowVersion",
    "allowPodLaunching",
    "apiSecretKeySecretName",
    "apiServer.allowPodLogReading",
    "apiServer.env",
    "apiServer.networkPolicy.ingress.from",
    "apiServer.podDisruptionBudget.config.maxUnavailable",
    "apiServer.podDisruptionBudget.enabled",
    "apiServer.replicas",
    "apiServer.resources",
    "apiServer.serviceAccount.annotations",
    "apiServer.serviceAccount.automountServiceAccountToken",
    "config",
    "createUserJob.enabled",
    "createUserJob.serviceAccount.create",
    "dagProcessor.logGroomerSidecar.resources",
    "dagProcessor.resources",
    "dagProcessor.serviceAccount.automountServiceAccountToken",
    "data.brokerUrlSecretName",
    "data.metadataSecretName",
    "defaultAirflowRepository",
    "defaultAirflowTag",
    "executor",
    "fernetKeySecretName",
    "jwtSecretName",
    "migrateDatabaseJob.resources",
    "migrateDatabaseJob.serviceAccount.automountServiceAccountToken",
    "networkPolicies.enabled",
    "postgresql.enabled",
    "redis.enabled",
    "redis.passwordSecretName",
    "redis.resources",
    "redis.securityContexts.pod",
    "redis.serviceAccount.automountServiceAccountToken",
    "redis.terminationGracePeriodSeconds",
    "scheduler.logGroomerSidecar.enabled",
    "scheduler.podDisruptionBudget.config.maxUnavailable",
    "scheduler.podDisruptionBudget.enabled",
    "scheduler.replicas",
    "scheduler.resources",
    "scheduler.serviceAccount.automountServiceAccountToken",
    "securityContexts.containers",
    "securityContexts.pod",
    "statsd.enabled",
    "triggerer.enabled",
    "workers.celery.env",
    "workers.celery.keda.advanced",
    "workers.celery.keda.enabled",
    "workers.celery.keda.maxReplicaCount",
    "workers.celery.keda.minReplicaCount",
    "workers.celery.logGroomerSidecar.enabled",
    "workers.celery.persistence.enabled",
    "workers.celery.podDisruptionBudget.config.maxUnavailable",
    "workers.celery.podDisruptionBudget.enabled",
    "workers.celery.resources",
    "workers.celery.safeToEvict",
    "workers.celery.serviceAccount.annotations",
    "workers.celery.serviceAccount.automountServiceAccountToken",
    "workers.celery.serviceAccount.create",
    "workers.celery.terminationGracePeriodSeconds",
    "workers.kubernetes.env",
    "workers.kubernetes.resources",
    "workers.kubernetes.safeToEvict",
    "workers.kubernetes.serviceAccount.annotations",
    "workers.kubernetes.serviceAccount.automountServiceAccountToken",
    "workers.kubernetes.serviceAccount.create",
    "workers.kubernetes.terminationGracePeriodSeconds",
}
# Below them Kubernetes' own names, or Airflow's.
OPEN = ("advanced", "annotations", "config", "containers", "pod", "resources")


def read(name):
    return yaml.safe_load((FOLDER / name).read_text())


def merged(below, above):
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def values(variant):
    """What a variant is installed with."""
    return merged(merged(read("values.yaml"), read(variant)), read("site.example.yaml"))


def paths(tree, above=""):
    """The keys of a values file, dotted, as far as they are the chart's.

    >>> sorted(paths({"data": {"metadataSecretName": "a"}, "config": {"core": {}}}))
    ['config', 'data.metadataSecretName']
    """
    for key, value in tree.items():
        is_open = key in OPEN and not (key == "config" and above)
        if isinstance(value, dict) and not is_open:
            yield from paths(value, f"{above}{key}.")
        else:
            yield above + key
