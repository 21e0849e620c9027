import t from 'tap'
import type { Pod } from '#kube'
import { silent } from '#telemetry'
import { reconcilePod, type World } from '../../../cni/agent/reconcile.ts'

const pod = (extra: Partial<Pod['metadata']> = {}): Pod => ({
  metadata: {
    name: 'p',
    namespace: 'shop',
    uid: 'u',
    labels: { 'istio.io/dataplane-mode': 'ambient' },
    ...extra,
  },
  status: { phase: 'Running', podIP: '10.0.0.1' },
})

/** The first look finds `before`; the capture fails; the next look finds `after`. */
function world(before: Pod, after: Pod | undefined, stillHeld: boolean): World {
  let looks = 0
  let held = true
  const fake = {
    pods: { get: () => (looks++ === 0 ? before : after) },
    namespaces: { get: () => undefined },
    registry: {},
    enrolment: {
      list: () => [],
      get: () => (held ? {} : undefined),
      enrol: async () => {
        held = stillHeld
        throw new Error('its network namespace is not known')
      },
    },
    defaults: { excludedNamespaces: [], ipv6: true, dnsCapture: false },
    log: silent,
  }
  return fake as unknown as World
}

const deleted = pod({ deletionTimestamp: '2026-01-01T00:00:00Z' })
const finished: Pod = { ...pod(), status: { phase: 'Succeeded' } }

t.test('a pod whose network went while it waited for its turn is no failure', async (t) => {
  for (const after of [undefined, deleted, finished, pod({ uid: 'another' })])
    await t.resolves(reconcilePod(world(pod(), after, false), 'shop/p'))
})

t.test('any other failed capture is tried again', async (t) => {
  await t.rejects(reconcilePod(world(pod(), pod(), false), 'shop/p'), /not known/, 'the pod lives')
  await t.rejects(
    reconcilePod(world(pod(), deleted, true), 'shop/p'),
    /not known/,
    'it still has its network',
  )
})
