import type { Custom, KubeObject } from '#kube'
import { validate } from '../collections/validate.ts'
import { unheededFields } from '../mesh-config-told.ts'
import { merged, validateSpec } from '../validation/index.ts'
import { message, type Message } from './message.ts'
import { resourceOf } from './resource.ts'
import type { World } from './world.ts'

/** Kinds of Istio's that nothing here obeys. */
const withoutEffect: ReadonlyMap<string, string> = new Map([
  ['networking.istio.io/Sidecar', 'there are no sidecars here'],
  ['networking.istio.io/EnvoyFilter', 'there is no Envoy here'],
  ['networking.istio.io/ProxyConfig', 'there are no proxies here that read it'],
  [
    'networking.istio.io/Gateway',
    'there are no gateways of this kind here; see Gateway of gateway.networking.k8s.io',
  ],
  ['security.istio.io/RequestAuthentication', 'nobody checks tokens yet'],
  ['extensions.istio.io/WasmPlugin', 'waypoints load no extensions yet'],
  ['extensions.istio.io/TrafficExtension', 'waypoints load no extensions yet'],
])

/** What is wrong with an object as it is written, as the webhook would say. */
export function schemaMessages({ objects, settings, meshConfig }: World): readonly Message[] {
  return [...objects.flatMap((one) => ofObject(one, settings)), ...ofMeshConfig(meshConfig)]
}

function ofObject(object: KubeObject & { spec?: unknown }, settings: World['settings']): readonly Message[] {
  const { kind = '', apiVersion = '' } = object
  const [group = ''] = apiVersion.split('/')
  const resource = resourceOf(object)
  const useless = withoutEffect.get(`${group}/${kind}`)
  const found = merged(
    validate(group, kind, object as Custom, settings),
    validateSpec(group, kind, object.spec),
  )
  return [
    ...(found?.errors ?? []).map((error) => message('SchemaValidationError', resource, error)),
    ...(useless === undefined
      ? (found?.warnings ?? []).map((warning) => message('SchemaWarning', resource, warning))
      : [message('IneffectivePolicy', resource, `has no effect: ${useless}`)]),
  ]
}

function ofMeshConfig({ map, text, problem }: World['meshConfig']): readonly Message[] {
  if (map === undefined) return []
  const resource = resourceOf({ ...map, kind: 'ConfigMap' })
  if (problem !== undefined) return [message('SchemaValidationError', resource, problem)]
  return unheededFields(text).map(({ field, reason }) =>
    message('SchemaWarning', resource, `${field}: ${reason}`),
  )
}
