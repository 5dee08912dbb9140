{{- /* Who puts the capture gate into pods, into which, and the gate in CEL. */}}

{{- /* The API version of the policy; empty where the webhook does it. The names of kinds are known of a live cluster only: `helm
template` has them by --api-versions. */}}
{{- define "weft.gatePolicyVersion" -}}
{{- $group := "admissionregistration.k8s.io" }}
{{- $by := .Values.webhooks.gate.by }}
{{- if eq $by "Webhook" }}
{{- else if .Capabilities.APIVersions.Has (print $group "/v1/MutatingAdmissionPolicy") }}{{ $group }}/v1
{{- else if .Capabilities.APIVersions.Has (print $group "/v1beta1/MutatingAdmissionPolicy") }}{{ $group }}/v1beta1
{{- else if ne $by "Policy" }}
{{- else if semverCompare ">= 1.36.0-0" .Capabilities.KubeVersion.Version }}{{ $group }}/v1
{{- else }}{{ $group }}/v1beta1
{{- end }}
{{- end }}

{{- /* Who opted in, by `.name`: `pods` by their own label, `namespaces` by their namespace's where they have none of the two. */}}
{{- define "weft.gateSelectors" -}}
namespaceSelector:
  matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ append .root.Values.webhooks.excludedNamespaces .root.Release.Namespace | uniq | sortAlpha | toJson }}}
  {{- if eq .name "namespaces" }}
  - {key: weft.dev/mesh, operator: In, values: [enabled]}
  {{- end }}
objectSelector:
  matchExpressions:
  {{- if eq .name "pods" }}
  - {key: weft.dev/mesh, operator: In, values: [enabled]}
  {{- else }}
  - {key: weft.dev/mesh, operator: NotIn, values: [enabled, disabled]}
  {{- end }}
{{- end }}

{{- /* What cannot be in the mesh gets no gate. */}}
{{- define "weft.gateConditions" -}}
- name: not-on-the-network-of-the-node
  expression: "!object.spec.?hostNetwork.orValue(false)"
- name: not-windows
  expression: object.spec.?os.?name.orValue('') != 'windows'
{{- end }}

{{- /* The gate's container as JSON. */}}
{{- define "weft.gate" -}}
{{- $own := dict "image" (include "weft.image" (dict "root" . "image" .Values.agent.image)) "imagePullPolicy" .Values.agent.image.pullPolicy }}
{{- merge $own (.Files.Get "files/gate.yaml" | fromYaml) | toJson }}
{{- end }}

{{- /* A value in CEL, which takes values of several types in one mapping or list only as `dyn`. */}}
{{- define "weft.cel" -}}
{{- $items := list }}
{{- if kindIs "map" . }}
{{- range $name, $value := . }}{{ $items = append $items (printf "%s: dyn(%s)" (toJson $name) (include "weft.cel" $value)) }}{{ end }}
{{- printf "{%s}" (join ", " $items) }}
{{- else if kindIs "slice" . }}
{{- range . }}{{ $items = append $items (printf "dyn(%s)" (include "weft.cel" .)) }}{{ end }}
{{- printf "[%s]" (join ", " $items) }}
{{- else }}{{ toJson . }}
{{- end }}
{{- end }}
