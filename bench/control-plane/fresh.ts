import { createHash } from 'node:crypto'
import { z } from 'zod'
import { sleep } from '#base'
import { type Collection, fixed, KubeClient, keyOf, type Kind, kinds, type KubeObject } from '#kube'
import { meshFrom } from '../../controller/collections/index.ts'
import { parseConfig } from '../../controller/config.ts'
import type { Scene, World } from './scene.ts'

/** As a controller without any environment. */
const settings = { ...parseConfig({}), trustDomain: 'cluster.local', rootNamespace: 'istio-system' }

/** Names and versions of what a controller would serve that had never heard of any change, as the clients digest theirs. */
async function freshDigest({ apiPort }: World): Promise<string> {
  using client = new KubeClient({
    server: new URL(`http://127.0.0.1:${apiPort}`),
    insecure: false,
    namespace: 'default',
    credentials: () => ({ token: 'bench' }),
  })
  const rows = async <T extends KubeObject>(kind: Kind<T>): Promise<Collection<T>> => {
    const { items } = await client.list(kind)
    return fixed(kind.plural, Object.fromEntries(items.map((item) => [keyOf(item), item])))
  }
  const mesh = meshFrom(
    {
      pods: await rows(kinds.Pod),
      services: await rows(kinds.Service),
      slices: await rows(kinds.EndpointSlice),
      namespaces: await rows(kinds.Namespace),
      nodes: await rows(kinds.Node),
      authorizationPolicies: await rows(kinds.AuthorizationPolicy),
      peerAuthentications: await rows(kinds.PeerAuthentication),
      serviceEntries: await rows(kinds.ServiceEntry),
      workloadEntries: await rows(kinds.WorkloadEntry),
      gateways: await rows(kinds.Gateway),
      gatewayClasses: await rows(kinds.GatewayClass),
      meshConfig: fixed('MeshConfig', {}),
    },
    settings,
  )
  const resources = [...mesh.addresses.list(), ...mesh.authorizations.list()]
  const lines = resources.map(({ name, version }) => `${name}=${version}\n`).sort()
  return createHash('sha256').update(lines.join('')).digest('hex')
}

const Held = z.object({ digest: z.string(), same: z.number() })

/** Milliseconds until every client holds what a fresh computation gives; undefined: not within the time. */
export async function untilFresh(
  { world, clients }: Scene,
  count: number,
  withinMs: number,
): Promise<number | undefined> {
  const started = performance.now()
  const fresh = await freshDigest(world)
  while (performance.now() - started < withinMs) {
    const { digest, same } = Held.parse(await clients.order('digest'))
    if (digest === fresh && same === count) return performance.now() - started
    await sleep(500, new AbortController().signal)
  }
  return undefined
}
