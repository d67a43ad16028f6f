"""The API server as the tests of the sample manifests ask it: quickly, and by its reasons for each field."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from kubernetes import client

from finetune_operator.resources import GROUP, RESOURCE_KINDS, VERSION
from samples import GOOD

Manifest = dict[str, Any]

_PLURALS = {kind: f"{kind.lower()}s" for kind in RESOURCE_KINDS}


class Server:
    """The three kinds in one namespace."""

    def __init__(self, api: client.CustomObjectsApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Manifest:
        """Creates an object and refuses unknown fields, as kubectl does.

        Raises:
            ApiException: The API server refuses it.
        """
        options = {"dry_run": "All"} if dry_run else {}
        made: Manifest = self._api.create_namespaced_custom_object(
            GROUP,
            VERSION,
            self._namespace,
            _PLURALS[manifest["kind"]],
            _as_sent(manifest),
            field_validation="Strict",
            **options,
        )
        return made

    def merge(
        self, manifest: Mapping[str, Any], patch: Mapping[str, Any], *, status: bool = False
    ) -> Manifest:
        """Merges a patch into an object or into its status.

        Raises:
            ApiException: The API server refuses it.
        """
        name, plural = manifest["metadata"]["name"], _PLURALS[manifest["kind"]]
        call = (
            self._api.patch_namespaced_custom_object_status
            if status
            else self._api.patch_namespaced_custom_object
        )
        made: Manifest = call(GROUP, VERSION, self._namespace, plural, name, patch)
        return made


def _as_sent(value: Any) -> Any:
    """A value as kubectl sends it: 4.0 of YAML is 4 in its JSON."""
    if isinstance(value, dict):
        return {key: _as_sent(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_sent(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def refusals(error: client.ApiException) -> dict[str, str]:
    """The API server's reasons by field; an unknown field and a `not` stand in the message alone."""
    status = json.loads(str(error.body))
    causes = status.get("details", {}).get("causes", [])
    found = {cause["field"]: cause["message"] for cause in causes if cause["field"] != "<nil>"}
    return found or {status["message"].split('"')[-2]: status["message"]}


def sample(stem: str, **metadata: Any) -> Manifest:
    """A good sample with other metadata, such as another name."""
    manifest = copy.deepcopy(next(each.manifest for each in GOOD if str(each) == stem))
    manifest["metadata"] = {**manifest["metadata"], **metadata}
    return manifest
