{{- define "obo-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "obo-proxy.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name (include "obo-proxy.name" .) -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains (include "obo-proxy.name" .) .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name = $name | replace "." "-" | trunc 52 | trimAll "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- fail (printf "fullnameOverride: needed, as no Service may be called %s: its name begins with a letter" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "obo-proxy.selector" -}}
app.kubernetes.io/name: {{ include "obo-proxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "obo-proxy.labels" -}}
{{ include "obo-proxy.selector" . }}
{{ include "obo-proxy.common" . }}
{{- end -}}

{{- define "obo-proxy.common" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "obo-proxy.serviceAccount" -}}
{{- default (ternary (include "obo-proxy.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "obo-proxy.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The text of config.yaml, as it is hashed and shipped. */ -}}
{{- define "obo-proxy.config" -}}
{{- include "obo-proxy.noSecrets" (dict "at" "config" "in" .Values.config) -}}
{{- include "obo-proxy.fits" . -}}
{{- toYaml .Values.config -}}
{{- end -}}

{{- /* Fails where a secret is written out: { value: SECRET } is how the configuration would hold it. Values end up in the release's history. */ -}}
{{- define "obo-proxy.noSecrets" -}}
{{- $at := .at -}}
{{- if kindIs "map" .in -}}
{{- range $key, $value := .in -}}
{{- if and (eq (lower $key) "value") (not (kindIs "map" $value)) (has (splitList "." $at | last | lower) (list "secret" "password" "token" "encryption_keys")) -}}
{{- fail (printf "%s.value: secrets do not belong in values; put it into a Secret, name that in existingSecret, and write { file: /run/secrets/obo-proxy/KEY }" $at) -}}
{{- end -}}
{{- include "obo-proxy.noSecrets" (dict "at" (printf "%s.%s" $at $key) "in" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .in -}}
{{- range .in -}}
{{- include "obo-proxy.noSecrets" (dict "at" $at "in" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails where the pod would not fit its configuration: Service and probes ask other ports, or Kubernetes kills a proxy that is still draining. */ -}}
{{- define "obo-proxy.fits" -}}
{{- $config := .Values.config -}}
{{- $listens := list -}}
{{- range $name, $listener := default (dict "default" (dict "address" "0.0.0.0:8080")) $config.listeners -}}
{{- $listens = append $listens (default dict $listener).address -}}
{{- end -}}
{{- include "obo-proxy.reached" (dict "value" "ports.http" "port" .Values.ports.http "at" "config.listeners" "listens" $listens) -}}
{{- $telemetry := default "0.0.0.0:9902" (default dict $config.telemetry).address -}}
{{- include "obo-proxy.reached" (dict "value" "ports.telemetry" "port" .Values.ports.telemetry "at" "config.telemetry.address" "listens" (list $telemetry)) -}}
{{- $shutdown := default dict $config.shutdown -}}
{{- $takes := 0.0 -}}
{{- range $text := list (default "5s" $shutdown.delay) (default "25s" $shutdown.drain) -}}
{{- $unit := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+$" $text) -}}
{{- $takes = addf $takes (mulf (regexFind "^[0-9]+" $text | float64) (default 0.0 $unit)) -}}
{{- end -}}
{{- if le (float64 .Values.terminationGracePeriodSeconds) $takes -}}
{{- fail (printf "terminationGracePeriodSeconds is %v, and config.shutdown takes %v s: Kubernetes would kill what is under way" .Values.terminationGracePeriodSeconds $takes) -}}
{{- end -}}
{{- end -}}

{{- /* Fails unless one of the addresses has the port, and can be reached from outside the pod. */ -}}
{{- define "obo-proxy.reached" -}}
{{- $found := false -}}
{{- range .listens -}}
{{- if and (hasSuffix (printf ":%v" $.port) (toString .)) (not (regexMatch "^(127\\.|localhost:|\\[::1\\]|unix:)" (toString .))) -}}
{{- $found = true -}}
{{- end -}}
{{- end -}}
{{- if not $found -}}
{{- fail (printf "%s is %v, and %s listens on %s: Service and probes would ask where nobody is" .value .port .at (join ", " .listens)) -}}
{{- end -}}
{{- end -}}

{{- define "obo-proxy.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- with .Values.seccompLocalhostProfile }}
seccompProfile: { type: Localhost, localhostProfile: {{ . | quote }} }
{{- else }}
seccompProfile: { type: RuntimeDefault }
{{- end }}
{{- end -}}
