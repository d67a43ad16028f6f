"""Amazon Bedrock, its runtime and S3 for tests, on one port and told apart by the path.

Every request is put together again into an operation's input and held against AWS's own service model, every answer
as well (`bedrock_schema`); what breaks it is in `violations`. Signatures are checked with code that is not botocore's.
What AWS does with a repeated token and a repeated name is as its documentation and its users have it:
the token's first job, and ValidationException "The provided job name is currently in use."
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from finetune_providers.base import JobState
from tests.fakes.bedrock_schema import Operation, Violation, check_shape
from tests.fakes.hosted import HostedCompany, Job, short_hash
from tests.fakes.http_server import Answer, Fault, Refusal, Request, Route

ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "acme-tuning"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/bedrock-tuning"
KEY_ID, SESSION_TOKEN = "AKIAFAKEFAKEFAKE0001", "a-session-token-that-nobody-may-see-0815"

_CODES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    422: "ValidationException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


@dataclass(frozen=True)
class Tunable:
    """What the company demands of one base model.

    Attributes:
        parameters: Lower and upper bound by native name.
        dialect: Of its datasets.
        least: Records in training and validation data together.
        validation: Whether it takes validation data.
        on_demand: Whether a fine-tuned model can be deployed by the token.
    """

    parameters: Mapping[str, tuple[float, float]]
    dialect: str = "conversation"
    least: int = 8
    validation: bool = True
    on_demand: bool = True


_NOVA = {"epochCount": (1, 5), "learningRate": (1e-6, 1e-4), "learningRateWarmupSteps": (0, 100)}
_LLAMA = {"epochCount": (1, 10), "batchSize": (1, 1), "learningRate": (5e-6, 0.1)}
_HAIKU = {
    "epochCount": (1, 10),
    "batchSize": (4, 256),
    "learningRateMultiplier": (0.1, 2),
    "earlyStoppingThreshold": (0, 0.1),
    "earlyStoppingPatience": (1, 10),
}
TUNABLE: Mapping[str, Tunable] = {
    "amazon.nova-lite-v1:0:300k": Tunable(_NOVA),
    "amazon.nova-micro-v1:0:128k": Tunable(_NOVA),
    "amazon.nova-2-lite-v1:0:256k": Tunable(_NOVA, least=200, validation=False),
    "meta.llama3-1-8b-instruct-v1:0:128k": Tunable(_LLAMA, "prompt-completion", 100, on_demand=False),
    "meta.llama3-3-70b-instruct-v1:0:128k": Tunable(_LLAMA, least=100),
    "anthropic.claude-3-haiku-20240307-v1:0:200k": Tunable(_HAIKU, "messages", 32, on_demand=False),
}


@dataclass
class Deployed:
    """A deployment of either kind."""

    arn: str
    model: str
    created_s: float
    provisioned: bool = False


class BedrockServer(HostedCompany):
    """Bedrock in one region of one account.

    Attributes:
        objects: What lies in S3, by bucket and key.
        violations: What broke AWS's service model, or the fake.
        deploy_s: How long a deployment takes.
        session_token: Demanded of every request where it is set.
        forgets_tokens: A repeated clientRequestToken is not recognised, as long after the first.
        buys_by_name: Takes no notice of names either: every create call buys a job, to see that none is repeated.
        writes_metrics: Whether jobs leave their CSV files in S3.
        denied: Operations that the credentials may not use.
        stop_reason: Of every answer of a model.
    """

    page_size = 100

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.objects: dict[tuple[str, str], bytes] = {}
        self.buckets = {BUCKET}
        self.violations: list[str] = []
        self.tokens: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.deployments: dict[str, Deployed] = {}
        self.deploy_s = 300.0
        self.next_deployment_fails = False
        self.failed_deployments: set[str] = set()
        self.session_token: str | None = None
        self.forgets_tokens = False
        self.writes_metrics = True
        self.rows_per_step = 1
        self.denied: set[str] = set()
        self.stop_reason = "end_turn"
        self._local = threading.local()

    # -- the way in and out -------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        jobs, deployments = "/model-customization-jobs", "/model-customization/custom-model-deployments"
        return (
            self._route_to("models", "GET", "/foundation-models", "ListFoundationModels", self._models),
            self._route_to("create", "POST", jobs, "CreateModelCustomizationJob", self._create),
            self._route_to("list", "GET", jobs, "ListModelCustomizationJobs", self._list),
            self._route_to("stop", "POST", f"{jobs}/.+/stop", "StopModelCustomizationJob", self._stop),
            self._route_to("get", "GET", f"{jobs}/.+", "GetModelCustomizationJob", self._get),
            self._route_to("delete-model", "DELETE", "/custom-models/.+", "DeleteCustomModel", self._delete_model),
            self._route_to("deploy", "POST", deployments, "CreateCustomModelDeployment", self._deploy),
            self._route_to("deployment", "GET", f"{deployments}/.+", "GetCustomModelDeployment", self._deployment),
            self._route_to(
                "undeploy", "DELETE", f"{deployments}/.+", "DeleteCustomModelDeployment", self._undeploy
            ),
            self._route_to(
                "provision",
                "POST",
                "/provisioned-model-throughput",
                "CreateProvisionedModelThroughput",
                self._provision,
            ),
            self._route_to(
                "provisioned",
                "GET",
                "/provisioned-model-throughput/.+",
                "GetProvisionedModelThroughput",
                self._provisioned,
            ),
            self._route_to(
                "unprovision",
                "DELETE",
                "/provisioned-model-throughput/.+",
                "DeleteProvisionedModelThroughput",
                self._unprovision,
            ),
            self._route_to(
                "converse", "POST", "/model/.+/converse", "Converse", self._converse, service="bedrock-runtime"
            ),
            self._route_to("head-bucket", "HEAD", "/[^/]+", "HeadBucket", self._head_bucket, service="s3"),
            self._route_to("objects", "GET", "/[^/]+", "ListObjectsV2", self._objects, service="s3"),
            self._route_to("head", "HEAD", "/[^/]+/.+", "HeadObject", self._head, service="s3"),
            self._route_to("put", "PUT", "/[^/]+/.+", "PutObject", self._put, service="s3"),
            self._route_to("read", "GET", "/[^/]+/.+", "GetObject", self._read, service="s3"),
            self._route_to("delete", "DELETE", "/[^/]+/.+", "DeleteObject", self._delete, service="s3"),
        )

    def _route_to(
        self,
        operation: str,
        method: str,
        pattern: str,
        name: str,
        handler: Callable[[Mapping[str, Any]], Any],
        *,
        service: str = "bedrock",
    ) -> Route:
        model = Operation(service, name)

        def handle(request: Request) -> Answer:
            try:
                parameters = model.input_of(request, self._local.raw)
                if operation in self.denied:
                    message = f"User is not authorized to perform: {service}:{name}"
                    raise Refusal(403, message, code="AccessDeniedException")
                self._write_metrics()
                answer = handler(parameters)
                if service == "s3":
                    return self._of_storage(model, answer)
                native = [job.native_state for job in self.jobs.values() if job.native_state]
                model.check_output(answer, allow=native)
                return Answer(answer, model.status)
            except Refusal:
                raise
            except Exception as error:
                self.violations.append(f"{name}: {type(error).__name__}: {error}")
                return self.error(500, str(error))

        return Route(operation, method, pattern, handle)

    def _of_storage(self, model: Operation, answer: Answer | Mapping[str, Any]) -> Answer:
        if isinstance(answer, Answer):
            answer.headers = {"Content-Type": "binary/octet-stream", **answer.headers}
            return answer
        model.check_output(answer)
        return Answer(model.xml(answer), headers={"Content-Type": "application/xml"})

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        self._local.raw = urlsplit(handler.path).path
        self._local.query = urlsplit(handler.path).query
        super()._handle(handler)

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        raw = getattr(self._local, "raw", "/")
        code = code or _CODES.get(status, f"Status{status}")
        if raw.split("/")[1] in self.buckets | {"no-such-bucket"}:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            return Answer(text, status, {"Content-Type": "application/xml"})
        return Answer({"message": message}, status, {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"})

    def _spoiled(self, fault: Fault) -> Answer | None:
        return super()._spoiled(fault)

    # -- signatures: AWS Signature Version 4, docs.aws.amazon.com/IAM create-signed-request ------------------------

    def authorize(self, request: Request) -> None:
        said = request.headers.get("Authorization", "")
        scheme, _, rest = said.partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            raise Refusal(403, "Missing Authentication Token", code="MissingAuthenticationTokenException")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key_id, date, region, service, _ = parts["Credential"].split("/")
        if key_id != KEY_ID or request.headers.get("x-amz-security-token") != self.session_token:
            message = "The security token included in the request is invalid."
            raise Refusal(403, message, code="UnrecognizedClientException")
        if region != REGION:
            raise Refusal(403, f"Credential should be scoped to {REGION}", code="InvalidSignatureException")
        key = f"AWS4{self.secret}".encode()
        for step in (date, region, service, "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        text = self._to_sign(request, parts["SignedHeaders"], f"{date}/{region}/{service}/aws4_request")
        if hmac.new(key, text.encode(), hashlib.sha256).hexdigest() != parts["Signature"]:
            message = "The request signature we calculated does not match the signature you provided."
            raise Refusal(403, message, code="InvalidSignatureException")

    def _to_sign(self, request: Request, signed: str, scope: str) -> str:
        raw = self._local.raw
        path = raw if "/s3/" in f"/{scope}/" else quote(raw, safe="/-_.~")
        query = "&".join(sorted(part if "=" in part else f"{part}=" for part in self._local.query.split("&") if part))
        headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";"))
        digest = request.headers.get("x-amz-content-sha256", hashlib.sha256(request.body).hexdigest())
        if digest != hashlib.sha256(request.body).hexdigest():
            raise Refusal(400, "The provided x-amz-content-sha256 does not match.", code="XAmzContentSHA256Mismatch")
        canonical = "\n".join((request.method, path, query, headers, signed, digest))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        return "\n".join(("AWS4-HMAC-SHA256", request.headers["X-Amz-Date"], scope, hashed))

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _models(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        summaries = [
            {
                "modelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{name}",
                "modelId": name,
                "customizationsSupported": ["FINE_TUNING"],
                "modelLifecycle": {"status": "ACTIVE"},
            }
            for name in TUNABLE
        ]
        assert asked.get("byCustomizationType") == "FINE_TUNING"
        return {"modelSummaries": summaries}

    def _create(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        token = asked.get("clientRequestToken", "")
        if token in self.tokens and not self.forgets_tokens:
            job_id, first = self.tokens[token]
            if first != asked:
                raise Refusal(400, "The token was used with other parameters.", code="ConflictException")
            return {"jobArn": job_id}
        if any(job.body["jobName"] == asked["jobName"] for job in self.jobs.values()):
            raise Refusal(400, "The provided job name is currently in use.")
        if any(job.body["customModelName"] == asked["customModelName"] for job in self.jobs.values()):
            raise Refusal(400, "The provided custom model name is currently in use.")
        model = TUNABLE.get(asked["baseModelIdentifier"])
        if model is None:
            raise Refusal(400, "The provided model identifier is invalid.")
        if asked["roleArn"] != ROLE:
            raise Refusal(400, "Could not assume the provided role.")
        hyperparameters = asked.get("hyperParameters", {})
        _check_hyperparameters(model, hyperparameters)
        lessons = self._check_data(model, asked)
        number = len(self.jobs) + 1
        name = asked["baseModelIdentifier"]
        job_id = self._arn("model-customization-job", f"{name}/{short_hash(f'job {number}', 12)}")
        self.sell(job_id, name, hyperparameters, lessons, dict(asked))
        if token:
            self.tokens[token] = (job_id, dict(asked))
        return {"jobArn": job_id}

    def _check_data(self, model: Tunable, asked: Mapping[str, Any]) -> Mapping[str, str]:
        validators = asked.get("validationDataConfig", {"validators": []})["validators"]
        if validators and not model.validation:
            raise Refusal(400, "Validation datasets are not supported for this model.")
        training = self._dataset(asked["trainingDataConfig"]["s3Uri"], model)
        validation = [row for each in validators for row in self._dataset(each["s3Uri"], model)]
        if not model.least <= len(training) + len(validation) <= 20000:
            raise Refusal(400, f"The number of records must be at least {model.least}.")
        if not asked["outputDataConfig"]["s3Uri"].startswith(f"s3://{BUCKET}/"):
            raise Refusal(400, "Could not validate PutObject permissions.")
        return dict(question_and_answer(model.dialect, row) for row in training)

    def _dataset(self, uri: str, model: Tunable) -> list[Any]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content = self.objects.get((bucket, key))
        if content is None:
            raise Refusal(400, "Could not validate GetObject permissions to access Amazon S3 bucket.")
        rows = [json.loads(line) for line in content.decode().splitlines()]
        for number, row in enumerate(rows, start=1):
            try:
                check_row(model.dialect, row)
            except (ValidationError, Violation) as error:
                raise Refusal(400, f"Row {number} of {uri} is malformed: {error}") from None
        return rows

    def _list(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        jobs = [job for job in self.listed() if asked.get("nameContains", "") in job.body["jobName"]]
        first = int(asked.get("nextToken", "0"))
        size = min(asked.get("maxResults", self.page_size), self.page_size)
        answer: dict[str, Any] = {
            "modelCustomizationJobSummaries": [self._summary(job) for job in jobs[first : first + size]]
        }
        if first + size < len(jobs):
            answer["nextToken"] = str(first + size)
        return answer

    def _common(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        words = {
            JobState.PENDING: "InProgress",
            JobState.RUNNING: "InProgress",
            JobState.SUCCEEDED: "Completed",
            JobState.FAILED: "Failed",
            JobState.CANCELLED: "Stopped",
        }
        training = "NotStarted" if state is JobState.PENDING else words[state]
        common = {
            "jobArn": job.job_id,
            "jobName": job.body["jobName"],
            "baseModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{job.base_model}",
            "status": job.native_state or words[state],
            "statusDetails": {
                "dataProcessingDetails": {"status": "InProgress" if training == "NotStarted" else "Completed"},
                "trainingDetails": {"status": training},
            },
            "creationTime": self._time(job.created_s),
            "lastModifiedTime": self._time(job.created_s),
            "customizationType": "FINE_TUNING",
        }
        if state.terminal:
            ended = job.created_s + self.training_s if job.cancelled_s is None else job.cancelled_s
            common["endTime"] = self._time(ended)
        return common

    def _summary(self, job: Job) -> Mapping[str, Any]:
        done = {"customModelArn": self._model_arn(job), "customModelName": job.body["customModelName"]}
        return {**self._common(job), **(done if self.state(job) is JobState.SUCCEEDED else {})}

    def _get(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        job = self._job(asked["jobIdentifier"])
        state = self.state(job)
        answer = {
            **self._common(job),
            "outputModelName": job.body["customModelName"],
            "clientRequestToken": job.body["clientRequestToken"],
            "roleArn": job.body["roleArn"],
            "hyperParameters": dict(job.hyperparameters),
            "trainingDataConfig": job.body["trainingDataConfig"],
            "validationDataConfig": job.body.get("validationDataConfig", {"validators": []}),
            "outputDataConfig": job.body["outputDataConfig"],
        }
        if state is JobState.FAILED:
            answer["failureMessage"] = job.failure
        if state is JobState.SUCCEEDED:
            answer["outputModelArn"] = self._model_arn(job)
            answer["trainingMetrics"] = {"trainingLoss": 0.5}
            answer["validationMetrics"] = [{"validationLoss": 0.625} for _ in self._validators(job)]
        return answer

    def _stop(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        job = self._job(asked["jobIdentifier"])
        if self.state(job).terminal:
            raise Refusal(400, "The job is not in a state in which it can be stopped.", code="ConflictException")
        self.cancel(job)
        return {}

    def _job(self, identifier: str) -> Job:
        for job in self.jobs.values():
            if identifier in {job.job_id, job.body["jobName"]}:
                return job
        raise Refusal(404, "The provided job identifier was not found.")

    def _write_metrics(self) -> None:
        """Leave each finished job's files in S3, as soon as anybody looks."""
        for job in self.jobs.values():
            if self.state(job) is not JobState.SUCCEEDED or job.more.get("written") or not self.writes_metrics:
                continue
            job.more["written"] = True
            uri = job.body["outputDataConfig"]["s3Uri"].removeprefix("s3://")
            bucket, _, prefix = uri.partition("/")
            folder = f"{prefix}/model-customization-job-{job.job_id.rpartition('/')[2]}"
            steps = int(job.hyperparameters["epochCount"]) * 3
            rows = [(step, step // 3, 2 / (step + 1)) for step in range(steps) for _ in range(self.rows_per_step)]
            training = f"{folder}/training_artifacts/step_wise_training_metrics.csv"
            self.objects[bucket, training] = _csv("training_loss", rows)
            if self._validators(job):
                rows = [(epoch * 3 + 2, epoch, 1 / (epoch + 1)) for epoch in range(steps // 3)]
                validation = f"{folder}/validation_artifacts/post_fine_tuning_validation/validation_metrics.csv"
                self.objects[bucket, validation] = _csv("validation_loss", rows)

    def _validators(self, job: Job) -> Sequence[Any]:
        validators: Sequence[Any] = job.body.get("validationDataConfig", {"validators": []})["validators"]
        return validators

    def _time(self, seconds: float) -> str:
        from datetime import timedelta

        return (self.clock.now() - timedelta(seconds=self.clock.elapsed() - seconds)).isoformat()

    # -- models -------------------------------------------------------------------------------------------------

    def _arn(self, kind: str, rest: str) -> str:
        return f"arn:aws:bedrock:{REGION}:{ACCOUNT}:{kind}/{rest}"

    def _model_arn(self, job: Job) -> str:
        return self._arn("custom-model", f"{job.base_model}/{job.job_id.rpartition('/')[2]}")

    def _model_s_job(self, arn: str) -> Job:
        for job in self.jobs.values():
            done = self.state(job) is JobState.SUCCEEDED and arn not in self.models_deleted
            if done and self._model_arn(job) == arn:
                return job
        raise Refusal(404, "The provided model identifier was not found.")

    def _delete_model(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        arn = asked["modelIdentifier"]
        self._model_s_job(arn)
        if any(deployed.model == arn for deployed in self.deployments.values()):
            raise Refusal(400, "The model is in use by a deployment.", code="ConflictException")
        self.models_deleted.add(arn)
        return {}

    def _deploy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        job = self._model_s_job(asked["modelArn"])
        if not TUNABLE[job.base_model].on_demand:
            raise Refusal(400, "On-demand deployment is not supported for this model.")
        kind = "custom-model-deployment"
        deployed = self._put_on_machines(asked["modelDeploymentName"], asked["modelArn"], kind)
        return {"customModelDeploymentArn": deployed.arn}

    def _provision(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        self._model_s_job(asked["modelId"])
        token = asked.get("clientRequestToken", "")
        if token in self.tokens:
            return {"provisionedModelArn": self.tokens[token][0]}
        deployed = self._put_on_machines(asked["provisionedModelName"], asked["modelId"], "provisioned-model")
        self.tokens[token] = (deployed.arn, asked)
        return {"provisionedModelArn": deployed.arn}

    def _put_on_machines(self, name: str, model: str, kind: str) -> Deployed:
        if name in self.deployments:
            raise Refusal(400, "The provided name is currently in use.")
        arn = self._arn(kind, short_hash(f"{kind} {name} {self.clock.elapsed()}", 12))
        deployed = Deployed(arn, model, self.clock.elapsed(), kind == "provisioned-model")
        self.deployments[name] = deployed
        if self.next_deployment_fails:
            self.failed_deployments.add(arn)
        return deployed

    def _found(self, identifier: str, *, provisioned: bool) -> tuple[str, Deployed]:
        for name, deployed in self.deployments.items():
            if identifier in {name, deployed.arn} and deployed.provisioned is provisioned:
                return name, deployed
        raise Refusal(404, "The provided identifier was not found.")

    def _ready(self, deployed: Deployed) -> bool:
        return self.clock.elapsed() >= deployed.created_s + self.deploy_s

    def _status(self, deployed: Deployed, ready: str) -> dict[str, Any]:
        if deployed.arn in self.failed_deployments:
            return {"status": "Failed", "failureMessage": "there are no machines"}
        return {"status": ready if self._ready(deployed) else "Creating"}

    def _deployment(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        name, deployed = self._found(asked["customModelDeploymentIdentifier"], provisioned=False)
        return {
            "customModelDeploymentArn": deployed.arn,
            "modelDeploymentName": name,
            "modelArn": deployed.model,
            "createdAt": self._time(deployed.created_s),
            **self._status(deployed, "Active"),
        }

    def _provisioned(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        name, deployed = self._found(asked["provisionedModelId"], provisioned=True)
        base = self._model_s_job(deployed.model).base_model
        return {
            "modelUnits": 1,
            "desiredModelUnits": 1,
            "provisionedModelName": name,
            "provisionedModelArn": deployed.arn,
            "modelArn": deployed.model,
            "desiredModelArn": deployed.model,
            "foundationModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{base}",
            "creationTime": self._time(deployed.created_s),
            "lastModifiedTime": self._time(deployed.created_s),
            **self._status(deployed, "InService"),
        }

    def _undeploy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        name, _ = self._found(asked["customModelDeploymentIdentifier"], provisioned=False)
        del self.deployments[name]
        return {}

    def _unprovision(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        name, deployed = self._found(asked["provisionedModelId"], provisioned=True)
        if not self._ready(deployed):
            raise Refusal(400, "The provisioned throughput is being created.", code="ConflictException")
        del self.deployments[name]
        return {}

    def _converse(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        job = self._who_answers(asked["modelId"])
        turns = asked["messages"]
        if [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
            raise Refusal(400, "Conversation must alternate user/assistant and end with a user message.")
        if not all(block.get("text", "").strip() for turn in turns for block in turn["content"]):
            raise Refusal(400, "The text field in the ContentBlock object is blank.")
        said = self.reply(turns[-1]["content"][0]["text"], job)
        content = [{"text": said}] if self.stop_reason == "end_turn" else []
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.stop_reason,
            "usage": {"inputTokens": 10, "outputTokens": 1, "totalTokens": 11},
            "metrics": {"latencyMs": 7},
        }

    def _who_answers(self, model: str) -> Job | None:
        for deployed in self.deployments.values():
            if deployed.arn == model:
                if not self._ready(deployed):
                    raise Refusal(429, "The model is not ready for inference.", code="ModelNotReadyException")
                return self._model_s_job(deployed.model)
        if ":custom-model/" in model:
            self._model_s_job(model)
            raise Refusal(400, "Invocation of a custom model with on-demand throughput isn't supported.")
        bases = {name.rpartition(":")[0] for name in TUNABLE}
        if model.removeprefix("us.") not in bases:
            raise Refusal(400, "The provided model identifier is invalid.")
        return None

    # -- S3 -----------------------------------------------------------------------------------------------------

    def _head_bucket(self, asked: Mapping[str, Any]) -> Answer:
        if asked["Bucket"] not in self.buckets:
            return Answer(None, 404)
        return Answer(None, 200)

    def _head(self, asked: Mapping[str, Any]) -> Answer:
        content = self.objects.get((asked["Bucket"], asked["Key"]))
        return Answer(None, 404 if content is None else 200)

    def _put(self, asked: Mapping[str, Any]) -> Answer:
        if asked["Bucket"] not in self.buckets:
            raise Refusal(404, "The specified bucket does not exist", code="NoSuchBucket")
        checksum = asked.get("ChecksumCRC32")
        if checksum and base64.b64decode(checksum) != binascii.crc32(asked["Body"]).to_bytes(4, "big"):
            raise Refusal(400, "The checksum did not match.", code="BadDigest")
        self.objects[asked["Bucket"], asked["Key"]] = asked["Body"]
        return Answer(None, headers={"ETag": f'"{hashlib.md5(asked["Body"]).hexdigest()}"'})

    def _read(self, asked: Mapping[str, Any]) -> Answer:
        content = self.objects.get((asked["Bucket"], asked["Key"]))
        if content is None:
            raise Refusal(404, "The specified key does not exist.", code="NoSuchKey")
        return Answer(content)

    def _delete(self, asked: Mapping[str, Any]) -> Answer:
        self.objects.pop((asked["Bucket"], asked["Key"]), None)
        return Answer(None, 204)

    def _objects(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        prefix, bucket = asked.get("Prefix", ""), asked["Bucket"]
        keys = sorted(key for place, key in self.objects if place == bucket and key.startswith(prefix))
        # Keys may be deleted between two pages: the next one goes on after a name, not after a number.
        keys = [key for key in keys if key > asked.get("ContinuationToken", "")]
        shown = keys[: self.page_size]
        answer: dict[str, Any] = {
            "IsTruncated": len(keys) > len(shown),
            "Name": bucket,
            "Prefix": prefix,
            "KeyCount": len(shown),
        }
        if shown:
            answer["Contents"] = [{"Key": key, "Size": len(self.objects[bucket, key])} for key in shown]
        if len(keys) > len(shown):
            answer["NextContinuationToken"] = shown[-1]
        return answer


def _csv(column: str, rows: Sequence[tuple[int, int, float]]) -> bytes:
    lines = [f"{step},{epoch},{loss},{math.exp(loss)}" for step, epoch, loss in rows]
    return "\n".join([f"step_number,epoch_number,{column},perplexity", *lines, ""]).encode()


def _check_hyperparameters(model: Tunable, given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if name not in model.parameters:
            raise Refusal(400, f"Hyperparameter {name} is not supported.")
        low, high = model.parameters[name]
        whole = name not in {"learningRate", "learningRateMultiplier", "earlyStoppingThreshold"}
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise Refusal(400, f"Hyperparameter {name} is malformed: {text}") from None
        if "e" in text.lower() or not low <= value <= high:
            raise Refusal(400, f"Hyperparameter {name} must be from {low} to {high}: {text}")


# -- datasets, by AWS's documentation (preparing-text-data) and the shapes of the Converse API -----------------------

_TEXT = {"type": "string", "minLength": 1}
_PAIR = {
    "type": "object",
    "required": ["prompt", "completion"],
    "additionalProperties": False,
    "properties": {"prompt": _TEXT, "completion": _TEXT},
}
_HAIKU_ROW = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "system": _TEXT,
        "messages": {
            "type": "array",
            "minItems": 2,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "additionalProperties": False,
                "properties": {"role": {"enum": ["user", "assistant"]}, "content": _TEXT},
            },
        },
    },
}


def check_row(dialect: str, row: Any) -> None:
    """Hold one record of a dataset against its dialect.

    Raises:
        jsonschema.ValidationError, Violation: It is not in the dialect.
    """
    if dialect == "prompt-completion":
        Draft202012Validator(_PAIR).validate(row)
        return
    if dialect == "messages":
        Draft202012Validator(_HAIKU_ROW).validate(row)
    else:
        if row.keys() - {"schemaVersion", "system", "messages"} or row.get("schemaVersion") != (
            "bedrock-conversation-2024"
        ):
            raise Violation(f"a record has the members {sorted(row)}")
        check_shape("bedrock-runtime", "Messages", row["messages"])
        check_shape("bedrock-runtime", "SystemContentBlocks", row.get("system", []))
    roles = [turn["role"] for turn in row["messages"]]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        raise Violation(f"the roles are {roles}")


def question_and_answer(dialect: str, row: Any) -> tuple[str, str]:
    """The last question of a record, with its answer."""
    if dialect == "prompt-completion":
        return row["prompt"], row["completion"]
    if dialect == "messages":
        return row["messages"][-2]["content"], row["messages"][-1]["content"]
    return row["messages"][-2]["content"][0]["text"], row["messages"][-1]["content"][0]["text"]
