import { createServer } from 'node:net'
import t from 'tap'
import { HttpPool } from '#http'
import { until } from '../../fakes/until.ts'
import { destinationOf, get, listen, told } from './support.ts'

const answers: readonly (readonly [says: string, bytes: string, first: string])[] = [
  ['with a length', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst', 'first'],
  ['in chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n', 'first'],
  ['without a body', 'HTTP/1.1 204 No Content\r\n\r\n', ''],
]

for (const [says, bytes, first] of answers)
  t.test(`a second answer behind one ${says} is nobody's, whoever waits for the connection`, async (t) => {
    let connections = 0
    const server = createServer((socket) => {
      const n = ++connections
      let asked = ''
      socket.on('data', (chunk: Buffer) => {
        asked += chunk.toString('latin1')
        if (!asked.endsWith('\r\n\r\n')) return
        asked = ''
        // The first connection answers once too often.
        const poison = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison'
        if (n === 1) socket.write(bytes + poison)
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood')
      })
    })
    const port = await listen(t, server)
    const pool = new HttpPool()
    t.teardown(() => pool.close())
    const to = destinationOf(port, 'HTTP/1.1', { maxConnections: 1 })
    const { signal } = new AbortController()
    const attacker = pool.send(to, get('/attacker'), undefined, { signal })
    const victim = pool.send(to, get('/victim'), undefined, { signal })
    t.equal(await told(await attacker), first)
    t.equal(await told(await victim), 'good')
    t.equal(connections, 2, 'the connection that said too much is not used again')
    await until(() => pool.use('group').requests === 0, 'the requests are over')
    t.equal(pool.use('group').connections, 1)
  })
