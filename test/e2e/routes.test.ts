/** What routes of the Gateway API do to requests between pods, case by case. */
import t from 'tap'
import { play, readCases } from './kit/cases.ts'
import { skip } from './kit/cluster.ts'
import { openStage } from './kit/stage.ts'

t.setTimeout(400_000)

t.test('routes of the Gateway API', { skip, timeout: 390_000 }, async (t) => {
  const stage = await openStage(t, 'routes')
  for (const file of ['mesh-http.yaml', 'mesh-grpc.yaml', 'service-http.yaml', 'service-streams.yaml'])
    await t.test(file, { timeout: 300_000 }, (t) => play(t, stage, readCases(file, stage)))
})
