import {
  builtinKinds,
  type JsonObject,
  type KindType,
  kindsOfCrd,
} from '../../../../sandbox/api/types/index.ts'

/** A built-in kind by name; the core Event, not that of events.k8s.io. */
export function kindNamed(name: string): KindType {
  const kind = builtinKinds().find((each) => each.kind === name)
  if (!kind) throw new Error(`no kind ${name}`)
  return kind
}

export const pod = (spec: JsonObject = {}): JsonObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'order', namespace: 'shop' },
  spec: { containers: [{ name: 'app', image: 'shop/order:1' }], ...spec },
})

export const deployment = (spec: JsonObject = {}, container: JsonObject = {}): JsonObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'order', namespace: 'shop' },
  spec: {
    selector: { matchLabels: { app: 'order' } },
    template: {
      metadata: { labels: { app: 'order' } },
      spec: { containers: [{ name: 'app', image: 'shop/order:1', ...container }] },
    },
    ...spec,
  },
})

export const configMap = (data: JsonObject): JsonObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'menu', namespace: 'shop' },
  data,
})

/** A CRD `beans.shop.example` with this schema for `spec`. */
export const crd = (spec: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'beans.shop.example' },
  spec: {
    group: 'shop.example',
    scope: 'Namespaced',
    names: { plural: 'beans', kind: 'Bean' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
        ...more,
      },
    ],
  },
})

/** The one kind of such a CRD. */
export function customKind(spec: JsonObject, more: JsonObject = {}): KindType {
  const made = kindsOfCrd(crd(spec, more))
  if ('reject' in made) throw new Error(JSON.stringify(made.reject))
  const kind = made.kinds[0]
  if (!kind) throw new Error('no kind')
  return kind
}

export const bean = (spec: unknown): JsonObject => ({
  apiVersion: 'shop.example/v1',
  kind: 'Bean',
  metadata: { name: 'arabica', namespace: 'shop' },
  spec,
})

/** An object nested `levels` deep. */
export function nested(levels: number): JsonObject {
  let object: JsonObject = {}
  for (let i = 1; i < levels; i++) object = { x: object }
  return object
}
