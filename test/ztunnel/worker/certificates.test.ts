import t from 'tap'
import { parseSpiffeId, type SpiffeId, type WorkloadCertificate } from '#identity'
import { CertificateCopies } from '../../../ztunnel/worker/certificates.ts'
import { createTestCa } from '../../fakes/test-ca.ts'

const id = parseSpiffeId('spiffe://cluster.local/ns/demo/sa/server') as SpiffeId
const ca = createTestCa()
const never = new AbortController().signal

function copies(answer: () => Promise<WorkloadCertificate>) {
  const asked: SpiffeId[] = []
  const made = new CertificateCopies((of) => {
    asked.push(of)
    return answer()
  })
  return { made, asked }
}

t.test('a certificate is asked for once, however many wait, and then kept', async (t) => {
  const certificate = ca.workload(id)
  const { made, asked } = copies(async () => certificate)
  const all = await Promise.all([made.get(id, never), made.get(id, never)])
  t.ok(all.every((one) => one === certificate))
  t.equal(await made.get(id, never), certificate)
  t.equal(asked.length, 1)
})

t.test('a renewed one is used from then on, also when an older answer comes after it', async (t) => {
  const [older, newer] = [ca.workload(id, { lifeMs: 60_000 }), ca.workload(id, { lifeMs: 120_000 })]
  const gate = Promise.withResolvers<WorkloadCertificate>()
  const { made } = copies(() => gate.promise)
  const waiting = made.get(id, never)
  made.renewed(newer)
  gate.resolve(older)
  t.equal(made.current(id), newer)
  t.equal(await waiting, newer)
  t.equal(await made.get(id, never), newer)
  t.equal(made.current(id), newer)
})

t.test('one that has expired or was forgotten is asked for again', async (t) => {
  const lives = [1, 60_000, 60_000]
  const { made, asked } = copies(async () => ca.workload(id, { lifeMs: lives.shift() ?? 0 }))
  const first = await made.get(id, never)
  while (first.notAfter.getTime() > Date.now()) await new Promise((done) => setTimeout(done, 50))
  await made.get(id, never)
  made.forgotten(id)
  await made.get(id, never)
  t.equal(asked.length, 3)
})

t.test('who gives up does not keep the others waiting, and a failure is not kept', async (t) => {
  const gate = Promise.withResolvers<WorkloadCertificate>()
  const { made, asked } = copies(() => (asked.length === 1 ? gate.promise : Promise.resolve(ca.workload(id))))
  const abort = new AbortController()
  const impatient = made.get(id, abort.signal)
  const patient = made.get(id, never)
  abort.abort(new Error('enough'))
  await t.rejects(impatient, { message: 'enough' })
  gate.reject(new Error('no CA'))
  await t.rejects(patient, { message: 'no CA' })
  t.ok(await made.get(id, never))
})
