import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { readInto } from '../../../lib/hbone/read-into.ts'
import { until } from '../../fakes/until.ts'

/** An accepted socket of which nothing has been read, and the one at its other end. */
async function pair(t: Test): Promise<readonly [accepted: Socket, other: Socket]> {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const other = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => {
    other.destroy()
    accepted.destroy()
    server.close()
  })
  return [accepted, other]
}

for (const pieces of [1, 2, 3, 5])
  t.test(`${pieces} pieces that came before anybody read are all read, in their order, as one`, async (t) => {
    const [accepted, other] = await pair(t)
    const sent = Array.from({ length: pieces }, (_, i) => `piece ${i}, `)
    let bytes = 0
    for (const piece of sent) {
      other.write(piece)
      bytes += piece.length
      await until(() => accepted.bytesRead === bytes, `${piece} is there`)
    }
    const reads: string[] = []
    readInto(accepted, Buffer.alloc(1_024), (n, buffer) => {
      reads.push(buffer.toString('latin1', 0, n))
      return true
    })
    t.same(reads, [sent.join('')], 'before it returns')
    other.end('and the rest')
    await until(() => reads.join('').endsWith('and the rest'), 'what came later')
    t.equal(reads.join(''), `${sent.join('')}and the rest`)
  })

t.test('a reader that wants no more of what was there gets the rest when it resumes', async (t) => {
  const [accepted, other] = await pair(t)
  for (const piece of ['a', 'b']) {
    const before = accepted.bytesRead
    other.write(piece)
    await until(() => accepted.bytesRead > before, piece)
  }
  const reads: string[] = []
  readInto(accepted, Buffer.alloc(1_024), (n, buffer) => {
    reads.push(buffer.toString('latin1', 0, n))
    return reads.length > 1
  })
  t.same(reads, ['ab'])
  other.write('c')
  accepted.resume()
  await until(() => reads.length === 2, 'the rest')
  t.same(reads, ['ab', 'c'])
})
