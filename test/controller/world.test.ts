import t from 'tap'
import { quietAboutPeers } from '../../controller/quiet-log.ts'
import { certificateAllowance } from '../../controller/world.ts'
import { startLogging } from '#telemetry'

const caller = (serviceAccount: string, uid: string) => ({
  namespace: serviceAccount === 'ztunnel' ? 'istio-system' : 'shop',
  serviceAccount,
  pod: { name: 'x', uid },
})

t.test('a pod that asks for certificates without end holds up nobody but itself', async (t) => {
  let nowMs = 0
  const mayAsk = certificateAllowance(['istio-system/ztunnel'], () => nowMs)
  const allowed = (who: ReturnType<typeof caller>, times: number) =>
    Array.from({ length: times }, () => mayAsk(who)).filter(Boolean).length
  t.equal(allowed(caller('order', 'o1'), 500), 20)
  t.equal(allowed(caller('order', 'o2'), 5), 5, 'another pod of the account')
  t.equal(allowed(caller('ztunnel', 'z1'), 1_500), 1_500, 'a node with many identities')
  t.equal(allowed(caller('ztunnel', 'z1'), 5_000), 500)
  nowMs = 10_000
  t.equal(allowed(caller('order', 'o1'), 500), 10)
  t.equal(allowed(caller('ztunnel', 'z1'), 5_000), 2_000)
  for (let n = 0; n < 20_000; n++) mayAsk(caller('order', `many${n}`))
  t.equal(allowed(caller('order', 'many19999'), 500), 19, 'the latest are remembered')
})

t.test('a peer that is refused without end does not fill the log', async (t) => {
  const lines: string[] = []
  let nowMs = 0
  const log = quietAboutPeers(startLogging({ write: (line) => void lines.push(line) }).root('x'), () => nowMs)
  for (let n = 0; n < 1_000; n++) log.warn('refused', { peer: `10.0.0.1:${n}`, reason: 'x' })
  t.equal(lines.length, 20)
  log.warn('refused', { peer: '[fd00::1]:9', reason: 'other' })
  t.match(lines[20], /other.*hidden=980/)
  nowMs = 1_000
  log.warn('refused', { peer: '10.0.0.1:1' })
  t.equal(lines.length, 22)
  t.notMatch(lines[21], /hidden/)
  log.warn('not about a peer')
  log.error('an error', { peer: '10.0.0.1:1' })
  t.equal(lines.length, 24)
  for (let n = 0; n < 100; n++) log.info('object refused', { peer: '10.0.0.9' })
  t.equal(lines.length, 44, 'nor one whose objects are')
})
