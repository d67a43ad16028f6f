"""Amazon Bedrock, its runtime and S3 for tests, on one port and told apart by the path.

What AWS does with a repeated token and a repeated name is as its documentation and its users have it: the token's
first job, and ValidationException "The provided job name is currently in use."
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jsonschema.exceptions import ValidationError
from tests.fakes.bedrock_aws import (
    ACCOUNT,
    BUCKET,
    KEY_ID,
    REGION,
    ROLE,
    SESSION_TOKEN,
    AwsServer,
)
from tests.fakes.bedrock_rules import (
    TUNABLE,
    Tunable,
    check_hyperparameters,
    check_row,
    metrics_file,
    question_and_answer,
)
from tests.fakes.bedrock_schema import Violation
from tests.fakes.hosted import Job, short_hash
from tests.fakes.http_server import Refusal, Route

from finetune_providers.base import JobState

__all__ = ["BUCKET", "KEY_ID", "REGION", "ROLE", "SESSION_TOKEN", "BedrockServer"]


@dataclass
class Deployed:
    """A deployment of either kind."""

    arn: str
    model: str
    created_s: float
    provisioned: bool = False


class BedrockServer(AwsServer):
    """Bedrock in one region of one account.

    Attributes:
        deploy_s: How long a deployment takes.
        forgets_tokens: A repeated clientRequestToken is not recognised, as long after the first.
        next_deployment_fails: The deployments that are made from now on fail.
        writes_metrics: Whether jobs leave their CSV files in S3.
        rows_per_step: Rows in their file for each step of training.
        stop_reason: Of every answer of a model.
        models_in_the_making: ARNs of models that are not Active yet.
    """

    page_size = 100

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.tokens: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.deployments: dict[str, Deployed] = {}
        self.deploy_s = 300.0
        self.next_deployment_fails = False
        self.failed_deployments: set[str] = set()
        self.forgets_tokens = False
        self.writes_metrics = True
        self.rows_per_step = 1
        self.stop_reason = "end_turn"
        self.models_in_the_making: set[str] = set()

    # -- the way in and out -------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        jobs, deployments = "/model-customization-jobs", "/model-customization/custom-model-deployments"
        return (
            self.route_to("models", "GET", "/foundation-models", "ListFoundationModels", self._models),
            self.route_to("create", "POST", jobs, "CreateModelCustomizationJob", self._create),
            self.route_to("list", "GET", jobs, "ListModelCustomizationJobs", self._list),
            self.route_to("stop", "POST", f"{jobs}/.+/stop", "StopModelCustomizationJob", self._stop),
            self.route_to("get", "GET", f"{jobs}/.+", "GetModelCustomizationJob", self._get),
            self.route_to("model", "GET", "/custom-models/.+", "GetCustomModel", self._custom_model),
            self.route_to(
                "delete-model", "DELETE", "/custom-models/.+", "DeleteCustomModel", self._delete_model
            ),
            self.route_to("deploy", "POST", deployments, "CreateCustomModelDeployment", self._deploy),
            self.route_to(
                "deployment", "GET", f"{deployments}/.+", "GetCustomModelDeployment", self._deployment
            ),
            self.route_to(
                "undeploy", "DELETE", f"{deployments}/.+", "DeleteCustomModelDeployment", self._undeploy
            ),
            self.route_to(
                "provision",
                "POST",
                "/provisioned-model-throughput",
                "CreateProvisionedModelThroughput",
                self._provision,
            ),
            self.route_to(
                "provisioned",
                "GET",
                "/provisioned-model-throughput/.+",
                "GetProvisionedModelThroughput",
                self._provisioned,
            ),
            self.route_to(
                "unprovision",
                "DELETE",
                "/provisioned-model-throughput/.+",
                "DeleteProvisionedModelThroughput",
                self._unprovision,
            ),
            self.route_to(
                "converse",
                "POST",
                "/model/.+/converse",
                "Converse",
                self._converse,
                service="bedrock-runtime",
            ),
            self.route_to("head-bucket", "HEAD", "/[^/]+", "HeadBucket", self._head_bucket, service="s3"),
            self.route_to("objects", "GET", "/[^/]+", "ListObjectsV2", self._objects, service="s3"),
            self.route_to("head", "HEAD", "/[^/]+/.+", "HeadObject", self._head, service="s3"),
            self.route_to("put", "PUT", "/[^/]+/.+", "PutObject", self._put, service="s3"),
            self.route_to("read", "GET", "/[^/]+/.+", "GetObject", self._read, service="s3"),
            self.route_to("delete", "DELETE", "/[^/]+/.+", "DeleteObject", self._delete, service="s3"),
        )

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
        check_hyperparameters(model, hyperparameters)
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
                "dataProcessingDetails": {
                    "status": "InProgress" if training == "NotStarted" else "Completed"
                },
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
            raise Refusal(
                400, "The job is not in a state in which it can be stopped.", code="ConflictException"
            )
        self.cancel(job)
        return {}

    def _job(self, identifier: str) -> Job:
        for job in self.jobs.values():
            if identifier in {job.job_id, job.body["jobName"]}:
                return job
        raise Refusal(404, "The provided job identifier was not found.")

    def look(self) -> None:
        """Leave each finished job's files in S3, as soon as anybody looks."""
        for job in self.jobs.values():
            if (
                self.state(job) is not JobState.SUCCEEDED
                or job.more.get("written")
                or not self.writes_metrics
            ):
                continue
            job.more["written"] = True
            uri = job.body["outputDataConfig"]["s3Uri"].removeprefix("s3://")
            bucket, _, prefix = uri.partition("/")
            folder = f"{prefix}/model-customization-job-{job.job_id.rpartition('/')[2]}"
            steps = int(job.hyperparameters["epochCount"]) * 3
            rows = [
                (step, step // 3, 2 / (step + 1)) for step in range(steps) for _ in range(self.rows_per_step)
            ]
            training = f"{folder}/training_artifacts/step_wise_training_metrics.csv"
            self.objects[bucket, training] = metrics_file("training_loss", rows)
            if self._validators(job):
                rows = [(epoch * 3 + 2, epoch, 1 / (epoch + 1)) for epoch in range(steps // 3)]
                validation = (
                    f"{folder}/validation_artifacts/post_fine_tuning_validation/validation_metrics.csv"
                )
                self.objects[bucket, validation] = metrics_file("validation_loss", rows)

    def _validators(self, job: Job) -> Sequence[Any]:
        validators: Sequence[Any] = job.body.get("validationDataConfig", {"validators": []})["validators"]
        return validators

    def _time(self, seconds: float) -> str:
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

    def _custom_model(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        arn = asked["modelIdentifier"]
        job = self._model_s_job(arn)
        return {
            "modelArn": arn,
            "modelName": job.body["customModelName"],
            "creationTime": self._time(job.created_s),
            "jobArn": job.job_id,
            "baseModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{job.base_model}",
            "modelStatus": "Creating" if arn in self.models_in_the_making else "Active",
        }

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
        if model in self.models_in_the_making:
            raise Refusal(400, "The provided model is not in the Active state.")
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
        content = [{"text": said if self.stop_reason == "end_turn" else "The output was blocked."}]
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
