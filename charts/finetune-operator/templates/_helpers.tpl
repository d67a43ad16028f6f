{{- define "finetune-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of objects without a namespace: two releases of one name in two namespaces must not meet. */}}
{{- define "finetune-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "finetune-operator.fullname" .) -}}
{{- end -}}

{{- define "finetune-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "finetune-operator.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune-operator.labels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "finetune-operator.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "finetune-operator.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-work" (include "finetune-operator.fullname" .)) -}}
{{- end -}}

{{/* What the operator may do: the rules of examples/operator/rbac.yaml, which a test compares. */}}
{{- define "finetune-operator.rules" -}}
- apiGroups: [finetune-operator.dev]
  resources: [finetunesweeps]
  verbs: [get, list, watch, patch]
- apiGroups: [finetune-operator.dev]
  resources: [finetunetrials]
  verbs: [get, list, watch, patch, create, delete]
- apiGroups: [finetune-operator.dev]
  resources: [finetuneproviders]
  verbs: [get, list, watch]
- apiGroups: [finetune-operator.dev]
  resources: [finetunesweeps/status, finetunetrials/status, finetuneproviders/status]
  verbs: [patch]
- apiGroups: [finetune-operator.dev]
  resources: [finetunesweeps/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
  {{- with .Values.rbac.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "finetune-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "finetune-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
