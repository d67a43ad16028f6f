"""Which cluster, and as whom: the one place that reads a kubeconfig or a service account."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import (
    ConfigException,
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
)

from finetune_operator.errors import SweepError

if TYPE_CHECKING:  # commands that look at a sweep need not wait for it
    import kopf

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NO_NAMESPACE = "default"


class NoCluster(SweepError):
    """Neither a kubeconfig nor a service account says which cluster to use."""


# The loader meets a file that is not there with an AttributeError or a TypeError.
_UNREADABLE = (ConfigException, OSError, AttributeError, TypeError, yaml.YAMLError)


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Where the credentials are read from.

    Attributes:
        kubeconfig: A kubeconfig file. Without one: the pod's service account, else `$KUBECONFIG`, else
            `~/.kube/config`.
        context: Context of the kubeconfig, instead of its current one.
    """

    kubeconfig: Path | None = None
    context: str | None = None

    async def configuration(self) -> Configuration:
        """The client's configuration, read anew: tokens of a service account change.

        Raises:
            NoCluster: There is nothing to read, or it cannot be used.
        """
        configuration = Configuration()
        if self.context is not None:
            self._context()
        try:
            if self._in_pod:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=self._files,
                    context=self.context,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except _UNREADABLE as error:
            raise _no_cluster(error) from error
        if configuration.proxy or not _goes_through_a_proxy(configuration.host):
            # Else the environment and ~/.netrc are read for each request, in the threads that evaluations wait for.
            configuration.client_session_kwargs = {"trust_env": False}
        return configuration

    def namespace(self) -> str:
        """The namespace that is meant where none is named: the pod's, or the context's, as for kubectl.

        Raises:
            NoCluster: There is nothing to read, or there is no such context.
        """
        if not self._in_pod:
            return str(self._context().get("namespace") or _NO_NAMESPACE)
        try:
            return _POD_NAMESPACE.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise _no_cluster(error) from error

    def _context(self) -> Mapping[str, Any]:
        """The context of the kubeconfig that is used."""
        try:
            known, current = list_kube_config_contexts(self._files)  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            raise _no_cluster(error) from error
        named = {each["name"]: each.get("context") or {} for each in known}
        wanted = self.context or current["name"]
        if wanted not in named:
            there = ", ".join(sorted(named)) or "none"
            raise NoCluster(
                f"there is no context {wanted!r} in the kubeconfig; contexts: {there}; "
                "choose with --context or --kubeconfig"
            )
        context: Mapping[str, Any] = named[wanted]
        return context

    @property
    def _files(self) -> str:
        """The kubeconfig, or several with colons between them."""
        path = str(self.kubeconfig) if self.kubeconfig else os.environ.get("KUBECONFIG")
        return path or str(Path.home() / ".kube" / "config")

    @property
    def _in_pod(self) -> bool:
        return self.kubeconfig is None and self.context is None and "KUBERNETES_SERVICE_HOST" in os.environ

    async def kopf_login(self, **_: Any) -> kopf.ConnectionInfo:
        """The same credentials for Kopf, whenever it asks for new ones."""
        return connection_info(await self.configuration())


def _goes_through_a_proxy(server: str) -> bool:
    """Whether the environment names a proxy for a server."""
    url = urlsplit(server)
    return url.scheme in getproxies() and not proxy_bypass(url.hostname or "")


def _no_cluster(error: Exception) -> NoCluster:
    return NoCluster(
        f"cannot read how to reach a cluster ({type(error).__name__}): run inside a pod with a "
        "service account, set KUBECONFIG, or name a file with --kubeconfig"
    )


def connection_info(configuration: Configuration) -> kopf.ConnectionInfo:
    """The client's configuration in Kopf's terms."""
    import kopf

    scheme, _, token = str(configuration.api_key.get("BearerToken", "")).partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=None if configuration.ssl_ca_cert else configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme or None,
        token=token.strip() or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
