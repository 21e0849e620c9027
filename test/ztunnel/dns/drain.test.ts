import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { until } from '../../fakes/until.ts'
import { question, read } from './kit.ts'
import { askTcp, askUdp, framed, metric, proxy, upstream } from './servers.ts'

t.test('when the pod goes, what waits is given up', async (t) => {
  await using dead = await upstream(() => undefined)
  const dns = await proxy([dead.address])
  void askUdp(dns.address, question({ name: 'x.example' }), 100)
  await until(() => dns.context.inFlight.count === 1, 'it waits')
  await dns[Symbol.asyncDispose]()
  await until(() => dns.context.inFlight.count === 0, 'given up')
  t.equal(await askUdp(dns.address, question({ name: 'web' }), 100), undefined)
})

t.test('draining: what was asked is answered, nothing more is taken', async (t) => {
  let release = () => {}
  const released = new Promise<void>((done) => (release = done))
  await using slow = await upstream(() => undefined)
  await using dns = await proxy([slow.address], {
    times: { deadlineMs: 3_000, nextAttemptMs: 5_000, idleMs: 5_000 },
  })
  const early = askUdp(dns.address, question({ name: 'x.example', id: 1 }))
  const stream = askTcp(dns.address, framed(question({ name: 'y.example', id: 2 })))
  await until(() => dns.context.inFlight.count === 2, 'both wait')
  const burst = Array.from({ length: 50 }, (_, id) => askUdp(dns.address, question({ name: 'web', id })))
  await new Promise(setImmediate)
  const drained = dns.drain().then(release)
  t.match(read(await early), { id: 1, rcode: 2 }, 'over UDP')
  t.match(read((await stream)[0]), { id: 2, rcode: 2 }, 'over TCP')
  t.equal((await Promise.all(burst)).filter((reply) => reply !== undefined).length, 50, 'and what was queued')
  await Promise.all([drained, released])
  t.equal(await askUdp(dns.address, question({ name: 'web' }), 100), undefined)
  t.equal((await askTcp(dns.address, framed(question({ name: 'web' })))).length, 0)
})

t.test('draining: who has just connected is answered, who is done is let go', async (t) => {
  await using dns = await proxy([])
  const [fresh, done] = [0, 1].map(() => connect(dns.address.port, dns.address.address))
  if (!fresh || !done) return
  done.write(framed(question({ name: 'web', id: 1 })))
  await once(done, 'data')
  await until(() => dns.descriptors() === 2, 'both are connected')
  const drained = dns.drain()
  done.resume()
  await once(done, 'end')
  done.end()
  fresh.write(framed(question({ name: 'web', id: 2 })))
  const [reply]: unknown[] = await once(fresh, 'data')
  t.match(Buffer.isBuffer(reply) && read(reply.subarray(2)), { id: 2, rcode: 0 })
  fresh.end()
  await drained
})

t.test('two proxies overlap: while one leaves, no question is lost', async (t) => {
  await using old = await proxy([])
  await using next = await proxy([], { config: old.context.config })
  const count = async (dns: typeof old) =>
    Number((await metric(dns, /istio_dns_requests_total\{/))[0]?.split(' ').at(-1) ?? 0)
  let asked = 0
  let answered = 0
  let going = true
  const askOn = async () => {
    while (going) {
      asked++
      if (await askUdp(old.address, question({ name: 'web' }))) answered++
    }
  }
  const askers = [askOn(), askOn(), askOn(), askOn()]
  await until(() => answered > 100, 'both answer')
  t.ok((await count(old)) > 0 && (await count(next)) > 0, 'the kernel spreads the questions')
  await old.drain()
  const before = answered
  await until(() => answered > before + 100, 'the new one answers')
  going = false
  await Promise.all(askers)
  t.equal(answered, asked, 'none was lost')
})
