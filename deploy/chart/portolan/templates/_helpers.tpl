{{- define "portolan.labels" -}}
app.kubernetes.io/part-of: portolan
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "portolan.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "portolan.secret" -}}
{{- if eq .Values.tls.source "existingSecret" -}}
{{ required "tls.existingSecret: expected the name of a Secret of type kubernetes.io/tls, with tls.source existingSecret" .Values.tls.existingSecret }}
{{- else -}}
portolan-tls
{{- end }}
{{- end }}

{{/* Where agents find who signs: never in the Secret, which has the key too. */}}
{{- define "portolan.ca" -}}
{{- if or (eq .Values.tls.source "generate") .Values.tls.caBundle -}}
portolan-ca
{{- else -}}
{{ required (printf "tls.caBundle or tls.caConfigMap: expected who signs the control planes' certificates, with tls.source %s" .Values.tls.source) .Values.tls.caConfigMap }}
{{- end }}
{{- end }}

{{/* As the rest of a container's security context. */}}
{{- define "portolan.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The ConfigMap with who signs the collector's certificate; empty if it is not needed. */}}
{{- define "portolan.collectorCA" -}}
{{- $t := .Values.controlPlane.tracing }}
{{- if and $t.endpoint $t.insecure $t.caConfigMap }}
{{- fail "controlPlane.tracing.insecure: expected no controlPlane.tracing.caConfigMap with it" }}
{{- else if and $t.endpoint (not $t.insecure) }}
{{- required "controlPlane.tracing.caConfigMap: expected who signs the collector's certificate, or controlPlane.tracing.insecure" $t.caConfigMap }}
{{- end }}
{{- end }}
