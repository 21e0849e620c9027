import { at, isObject, listAt, objectAt, stringAt } from './json.ts'
import { labelNameError, portNameError } from './names.ts'
import { type Causes, checkLabels, checkName, checkPort, duplicate, invalid, required } from './rules.ts'

/** Environment variables may be named with anything printable but `=`. */
const ENV_NAME = /^[ -<>-~]+$/

/** What holds for a pod's spec wherever it stands: in a Pod or in a template. */
export function checkPodSpec(causes: Causes, field: string, spec: unknown): void {
  if (!isObject(spec)) return
  const containers = listAt(spec, 'containers')
  if (containers.length === 0) required(causes, `${field}.containers`)
  const volumes = new Set<string>()
  listAt(spec, 'volumes').forEach((volume, i) => {
    const name = stringAt(volume, 'name') ?? ''
    checkName(causes, `${field}.volumes[${i}].name`, name, labelNameError)
    volumes.add(name)
    const sources = isObject(volume) ? Object.keys(volume).filter((key) => key !== 'name') : []
    if (sources.length > 1)
      causes.push({
        field: `${field}.volumes[${i}].${sources[1]}`,
        reason: 'FieldValueForbidden',
        message: 'Forbidden: may not specify more than 1 volume type',
      })
  })
  const names = new Set<string>()
  for (const list of ['initContainers', 'containers'])
    listAt(spec, list).forEach((container, i) =>
      checkContainer(causes, `${field}.${list}[${i}]`, container, { volumes, names }),
    )
  checkName(causes, `${field}.hostname`, spec['hostname'], labelNameError)
  const grace = spec['terminationGracePeriodSeconds']
  if (typeof grace === 'number' && grace < 0)
    invalid(causes, `${field}.terminationGracePeriodSeconds`, grace, 'must be greater than or equal to 0')
}

type Known = Readonly<{ volumes: ReadonlySet<string>; names: Set<string> }>

function checkContainer(causes: Causes, field: string, container: unknown, known: Known): void {
  const name = stringAt(container, 'name') ?? ''
  checkName(causes, `${field}.name`, name, labelNameError)
  if (name && known.names.has(name)) duplicate(causes, `${field}.name`, name)
  known.names.add(name)
  const image = stringAt(container, 'image') ?? ''
  if (image === '') required(causes, `${field}.image`)
  else if (image.trim() !== image)
    invalid(causes, `${field}.image`, image, 'must not have leading or trailing whitespace')
  checkPorts(causes, field, container)
  listAt(container, 'env').forEach((env, i) => {
    const variable = stringAt(env, 'name') ?? ''
    if (variable && !ENV_NAME.test(variable))
      invalid(causes, `${field}.env[${i}].name`, variable, "must be printable ASCII without '='")
    if (stringAt(env, 'value') && at(env, 'valueFrom'))
      invalid(causes, `${field}.env[${i}].valueFrom`, '', 'may not be specified when `value` is not empty')
  })
  listAt(container, 'volumeMounts').forEach((mount, i) => {
    const volume = stringAt(mount, 'name')
    if (volume && !known.volumes.has(volume))
      causes.push({
        field: `${field}.volumeMounts[${i}].name`,
        reason: 'FieldValueInvalid',
        message: `Not found: "${volume}"`,
      })
  })
  for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'])
    checkProbe(causes, `${field}.${probe}`, objectAt(container, probe))
}

function checkPorts(causes: Causes, field: string, container: unknown): void {
  const names = new Set<string>()
  listAt(container, 'ports').forEach((port, i) => {
    const path = `${field}.ports[${i}]`
    const name = stringAt(port, 'name')
    checkName(causes, `${path}.name`, name, portNameError)
    if (name && names.has(name)) duplicate(causes, `${path}.name`, name)
    if (name) names.add(name)
    const number = at(port, 'containerPort')
    if (number === 0) required(causes, `${path}.containerPort`)
    else checkPort(causes, `${path}.containerPort`, number)
    const host = at(port, 'hostPort')
    if (host !== undefined && host !== 0) checkPort(causes, `${path}.hostPort`, host)
  })
}

const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc']

function checkProbe(causes: Causes, field: string, probe: unknown): void {
  if (!isObject(probe)) return
  const handlers = HANDLERS.filter((key) => Object.hasOwn(probe, key))
  if (handlers.length === 0) required(causes, field, 'must specify a handler type')
  if (handlers.length > 1)
    causes.push({
      field: `${field}.${handlers[1]}`,
      reason: 'FieldValueForbidden',
      message: 'Forbidden: may not specify more than 1 handler type',
    })
}

/** A template: its labels and its pod. */
export function checkTemplate(causes: Causes, field: string, template: unknown): void {
  if (!isObject(template)) return
  checkLabels(causes, `${field}.metadata.labels`, objectAt(template, 'metadata', 'labels'))
  if (objectAt(template, 'spec')) checkPodSpec(causes, `${field}.spec`, template['spec'])
  else required(causes, `${field}.spec.containers`)
}
