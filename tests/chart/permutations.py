"""Values that people set, alone and together."""

from __future__ import annotations

from typing import Any

EVERYTHING: dict[str, Any] = {
    "commonLabels": {"team": "ml"},
    "watchNamespaces": ["team-a", "team-b"],
    "allowPrivateDatasets": True,
    "trustEndpoints": True,
    "releaseWithin": "36h",
    "image": {
        "repository": "registry.example.com/ml/finetune-operator",
        "tag": "1.2.3-local",
        "pullPolicy": "Always",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "crds": {"annotations": {"argocd.argoproj.io/sync-wave": "-1"}},
    "rbac": {"secretNames": ["openai-prod", "bedrock"], "providers": "edit"},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/finetune"}},
    "persistence": {"size": "100Gi", "storageClass": "fast", "annotations": {"backup": "daily"}},
    "resources": {"requests": {"cpu": 4}, "limits": {"memory": "64Gi", "nvidia.com/gpu": 1}},
    "terminationGracePeriodSeconds": 120,
    "health": {"port": 9000, "startupSeconds": 60},
    "metrics": {"enabled": True, "port": 9091},
    "serviceMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True, "labels": {"grafana_dashboard": "yes"}},
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
        {"name": "PROXY_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "password"}}},
    ],
    "extraVolumes": [{"name": "authorities", "configMap": {"name": "authorities"}}],
    "extraVolumeMounts": [{"name": "authorities", "mountPath": "/etc/authorities", "readOnly": True}],
    "podLabels": {"azure.workload.identity/use": "true"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
    "priorityClassName": "system-cluster-critical",
    "runtimeClassName": "nvidia",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["ml"]}]}
                ]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "networkPolicy": {
        "enabled": True,
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [{"port": 80}]}],
        "ingress": [{"ports": [{"port": 9000}]}],
    },
    "podDisruptionBudget": {"enabled": True},
}

PERMUTATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "cluster wide": {"clusterWide": True, "fullnameOverride": "sweeps"},
    "several namespaces": {"watchNamespaces": ["team-a", "team-b"], "nameOverride": "tuner"},
    "by digest": {"image": {"digest": "sha256:" + "0" * 64}},
    "an operator beside another one": {"crds": {"enabled": False}, "rbac": {"aggregate": False}},
    "CRDs that go with the release": {"crds": {"keep": False}},
    "rights by somebody else": {"rbac": {"create": False, "providers": "none"}},
    "an account by somebody else": {"serviceAccount": {"create": False, "name": "ours"}},
    "a volume by somebody else": {"persistence": {"existingClaim": "ours"}},
    "a volume that goes with the release": {"persistence": {"keep": False}},
    "nothing that lasts": {"persistence": {"enabled": False}},
    "OpenShift": {"podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "kept from metadata": {"networkPolicy": {"enabled": True}},
    "kept from nothing": {"networkPolicy": {"enabled": True, "except": [], "exceptIPv6": []}},
    "metrics alone": {"metrics": {"enabled": True}},
    "an umbrella chart's": {"global": {"imageRegistry": "registry.example.com"}},
}
