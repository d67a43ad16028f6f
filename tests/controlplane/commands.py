"""The command lines of the three processes, and the questions that tell whether they serve."""

import http.client
import json
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane.binaries import Binaries
from controlplane.certificates import Certificates

_SERVICE_NETWORK = "10.0.0.0/24"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
# The controllers that tests rely on. Without a scheduler and nodes the others have nothing to do.
_CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)
_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one control plane."""

    etcd_client: int
    etcd_peer: int
    api_server: int
    controller_manager: int

    def as_dict(self) -> dict[str, int]:
        """The ports by name, to be written down."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Layout:
    """All that a command line names: the private folder, the binaries, the ports and the certificates."""

    folder: Path
    binaries: Binaries
    ports: Ports
    certificates: Certificates

    @property
    def audit_log(self) -> Path:
        """What service accounts asked of the API server, one JSON object a line."""
        return self.folder / "audit.log"

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.ports.api_server}"


def etcd_command(layout: Layout) -> list[str]:
    """Etcd without waiting for the disk: the data outlives a killed process, but not the machine."""
    client = f"http://127.0.0.1:{layout.ports.etcd_client}"
    peer = f"http://127.0.0.1:{layout.ports.etcd_peer}"
    return [
        str(layout.binaries.etcd),
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(layout: Layout) -> list[str]:
    """The API server with RBAC, and with tokens for service accounts."""
    keys = layout.certificates
    return [
        str(layout.binaries.kube_apiserver),
        f"--etcd-servers=http://127.0.0.1:{layout.ports.etcd_client}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.ports.api_server}",
        f"--cert-dir={layout.folder / 'api-server'}",
        f"--tls-cert-file={keys.server.public}",
        f"--tls-private-key-file={keys.server.private}",
        f"--client-ca-file={keys.authority.public}",
        f"--requestheader-client-ca-file={keys.front_proxy_authority.public}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--authorization-mode=RBAC",
        # As on OpenShift: who makes an object that blocks its owner's deletion needs a right on the owner.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        f"--audit-policy-file={_audit_policy(layout)}",
        f"--audit-log-path={layout.audit_log}",
        # Else a server that is asked to end waits for its open watches for a minute.
        "--shutdown-watch-termination-grace-period=1s",
        # There is no service network, so no endpoints of the server itself need upkeep.
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={_SERVICE_NETWORK}",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={keys.service_accounts.public}",
        f"--service-account-signing-key-file={keys.service_accounts.private}",
    ]


def _audit_policy(layout: Layout) -> Path:
    """Writes what is recorded: which service account asked for what, without the objects themselves."""
    policy = layout.folder / "audit-policy.json"
    rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
    described = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
    policy.write_text(json.dumps({**described, "rules": rules}), encoding="utf-8")
    return policy


def controller_manager_command(layout: Layout, kubeconfig: Path) -> list[str]:
    """The controller manager with the few controllers that tests rely on."""
    keys = layout.certificates
    return [
        str(layout.binaries.kube_controller_manager),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(_CONTROLLERS)}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={keys.service_accounts.private}",
        f"--root-ca-file={keys.authority.public}",
        "--bind-address=127.0.0.1",
        f"--secure-port={layout.ports.controller_manager}",
        f"--cert-dir={layout.folder / 'controller-manager'}",
    ]


def etcd_serves(layout: Layout) -> bool:
    """Whether etcd is healthy."""
    connection = http.client.HTTPConnection("127.0.0.1", layout.ports.etcd_client, timeout=_PROBE_TIMEOUT_S)
    return _answers_200(connection, "/health")


def api_server_serves(layout: Layout) -> bool:
    """Whether the API server is ready, asked with the administrator's certificate."""
    keys = layout.certificates
    context = ssl.create_default_context(cafile=str(keys.authority.public))
    context.load_cert_chain(keys.admin.public, keys.admin.private)
    return _answers_200(_tls(layout.ports.api_server, context), "/readyz")


def controller_manager_serves(layout: Layout) -> bool:
    """Whether the controller manager is healthy; it made its own certificate, which nobody can check."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _answers_200(_tls(layout.ports.controller_manager, context), "/healthz")


def _tls(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_PROBE_TIMEOUT_S, context=context)


def _answers_200(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
