{{- define "kartra-mcp.labels" -}}
app.kubernetes.io/name: kartra-mcp
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "kartra-mcp.selector" -}}
app.kubernetes.io/name: kartra-mcp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kartra-mcp.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Settings of a pod that runs our program: not root, no token, nothing writable but its state. */}}
{{- define "kartra-mcp.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: team
    configMap: {name: {{ .Release.Name }}-team}
  - name: secrets
    secret: {secretName: {{ .Values.secretName }}, defaultMode: 0440}
  - name: state
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- if .Values.anchors.existingClaim }}
  - name: anchors
    persistentVolumeClaim: {claimName: {{ .Values.anchors.existingClaim }}}
{{- end }}
{{- end }}

{{- define "kartra-mcp.container" -}}
image: {{ include "kartra-mcp.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
{{ toYaml .Values.resources | indent 2 }}
volumeMounts:
  - {name: team, mountPath: /etc/kartra-mcp, readOnly: true}
  - {name: secrets, mountPath: /etc/kartra-mcp/secrets, readOnly: true}
  - {name: state, mountPath: /var/lib/kartra-mcp}
  - {name: tmp, mountPath: /tmp}
{{- if .Values.anchors.existingClaim }}
  - {name: anchors, mountPath: /anchors}
{{- end }}
{{- end }}
