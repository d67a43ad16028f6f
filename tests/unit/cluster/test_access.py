"""Where credentials come from, and that Kopf gets the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import incluster_config

from finetune_operator.cluster.access import ClusterAccess, NoCluster


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    names = ("one", "two")
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": n, "cluster": {"server": f"https://{n}.example:6443"}} for n in names],
        "users": [{"name": n, "user": {"token": f"token-of-{n}"}} for n in names],
        "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in names],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


async def test_a_kubeconfig_is_read_for_both_clients(config_file: Path) -> None:
    login = await ClusterAccess(kubeconfig=config_file).kopf_login(settings=None)
    assert login.server == "https://one.example:6443"
    assert login.as_http_headers() == {"Authorization": "Bearer token-of-one"}


async def test_another_context_can_be_chosen(config_file: Path) -> None:
    configuration = await ClusterAccess(kubeconfig=config_file, context="two").configuration()
    assert configuration.host == "https://two.example:6443"


async def test_the_environment_may_name_the_kubeconfig(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(config_file))
    assert (await ClusterAccess().configuration()).host == "https://one.example:6443"


async def test_a_kubeconfig_that_is_named_wins_over_the_pods_account(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert (await ClusterAccess(kubeconfig=config_file).configuration()).host == "https://one.example:6443"


@pytest.mark.parametrize("context", [None, "three"])
async def test_without_credentials_it_is_said_how_to_give_them(
    config_file: Path, tmp_path: Path, context: str | None
) -> None:
    access = ClusterAccess(kubeconfig=config_file if context else tmp_path / "missing", context=context)
    with pytest.raises(NoCluster, match="--kubeconfig"):
        await access.configuration()


async def test_in_a_pod_the_token_is_read_anew_for_each_login(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    authority.write_text("a certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for number in range(2):
        token.write_text(f"token-{number}\n")
        login = await ClusterAccess().kopf_login(settings=None)
        assert login.server == "https://10.0.0.1:443"
        assert login.ca_path == str(authority)
        assert login.token == f"token-{number}"


async def test_the_namespace_is_the_contexts_as_for_kubectl(config_file: Path) -> None:
    content = json.loads(config_file.read_text())
    content["contexts"][1]["context"]["namespace"] = "team-a"
    config_file.write_text(json.dumps(content))
    assert ClusterAccess(kubeconfig=config_file).namespace() == "default"
    assert ClusterAccess(kubeconfig=config_file, context="two").namespace() == "team-a"


async def test_a_context_that_is_not_there_is_told_of_with_those_that_are(config_file: Path) -> None:
    access = ClusterAccess(kubeconfig=config_file, context="three")
    told = "no context 'three' in the kubeconfig; contexts: one, two;"
    with pytest.raises(NoCluster, match=told):
        access.namespace()
    with pytest.raises(NoCluster, match=told):
        await access.configuration()


@pytest.mark.parametrize("content", ["", "- a list\n", "{contexts: 3}\n", "a: [b\n", "text", "{}\n"])
async def test_a_file_that_is_no_kubeconfig_is_told_of(tmp_path: Path, content: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    access = ClusterAccess(kubeconfig=tmp_path / "kubeconfig")
    with pytest.raises(NoCluster):
        access.namespace()
    with pytest.raises(NoCluster):
        await access.configuration()


async def test_in_a_pod_the_namespace_is_the_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "namespace").write_text("finetune\n")
    monkeypatch.setattr("finetune_operator.cluster.access._POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert ClusterAccess().namespace() == "finetune"


async def test_the_environment_is_not_read_for_each_request_where_it_names_no_proxy(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    configuration = await ClusterAccess(kubeconfig=config_file).configuration()
    assert configuration.client_session_kwargs == {"trust_env": False}


@pytest.mark.parametrize(("but_for", "goes_through"), [("", True), ("one.example", False)])
async def test_a_proxy_of_the_environment_is_used_unless_the_server_is_left_out(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, but_for: str, goes_through: bool
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", but_for)
    configuration = await ClusterAccess(kubeconfig=config_file).configuration()
    assert (configuration.client_session_kwargs is None) == goes_through
