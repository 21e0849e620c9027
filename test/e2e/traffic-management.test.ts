/** What VirtualServices, DestinationRules and ServiceEntries do, case by case, as Istio's tasks about traffic have them. */
import t from 'tap'
import { play, readCases } from './kit/cases.ts'
import { label, skip } from './kit/cluster.ts'
import { openStage } from './kit/stage.ts'

t.setTimeout(400_000)

const locality = (region: string | null, zone: string | null) => ({
  'topology.kubernetes.io/region': region,
  'topology.kubernetes.io/zone': zone,
})

t.test('traffic management', { skip, timeout: 390_000 }, async (t) => {
  const stage = await openStage(t, 'traffic')
  for (const file of ['istio-tasks.yaml', 'istio-egress.yaml', 'istio-more.yaml', 'istio-reference.yaml'])
    await t.test(file, { timeout: 300_000 }, (t) => play(t, stage, readCases(file, stage)))
  await t.test('istio-locality.yaml', { timeout: 100_000 }, async (t) => {
    const { near, far } = stage.nodes
    t.teardown(() => Promise.all([near, far].map((node) => label(node, locality(null, null), 'Node'))))
    await label(near, locality('near', 'a'), 'Node')
    await label(far, locality('far', 'b'), 'Node')
    await play(t, stage, readCases('istio-locality.yaml', stage))
  })
})
