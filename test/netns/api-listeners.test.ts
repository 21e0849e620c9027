import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import t from 'tap'
import { openNetns, tcpSocket } from '#linux'
import { silent } from '#telemetry'
import { startApiServer } from '../../sandbox/api/app.ts'
import { pkiFiles } from '../../sandbox/api/auth/index.ts'
import { temporaryConfig } from '../sandbox/api/harness.ts'

const root = process.getuid?.() === 0
const netns = `api-${process.pid}-fabric`
const ip = (...args: string[]) => execFileSync('ip', args)

t.test('the API server is reached inside the fabric', { skip: !root && 'needs root' }, async (t) => {
  ip('netns', 'add', netns)
  t.teardown(() => void ip('netns', 'del', netns))
  ip('-n', netns, 'link', 'set', 'lo', 'up')
  ip('-n', netns, 'addr', 'add', '10.77.0.2/32', 'dev', 'lo')
  ip('-n', netns, 'addr', 'add', 'fd77::2/128', 'dev', 'lo', 'nodad')
  const own = temporaryConfig()
  const config = { ...own, fabric: { ...own.fabric, netns } }
  t.teardown(() => own[Symbol.dispose]())
  const server = await startApiServer({ config, port: 0, log: silent })
  t.teardown(() => server[Symbol.asyncDispose]())

  for (const [family, host] of [
    ['ipv4', '10.77.0.2'],
    ['ipv6', 'fd77::2'],
  ] as const)
    t.test(`over ${family}, by a name in its certificate`, async (t) => {
      using space = openNetns(`/run/netns/${netns}`)
      const socket = new Socket({ fd: tcpSocket({ netns: space, family }) }).connect({ host, port: 6443 })
      const ca = readFileSync(pkiFiles(config).ca.certificate)
      const tls = tlsConnect({ socket, ca, host, servername: 'kubernetes.default.svc' })
      await once(tls, 'secureConnect')
      tls.write('GET /readyz HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n')
      let text = ''
      for await (const chunk of tls) text += String(chunk)
      t.match(text, /^HTTP\/1\.1 200 OK[^]*\r\n\r\nok$/)
    })

  t.test('and the root namespace has loopback only', async (t) => {
    const listening = execFileSync('ss', ['-ltnp']).toString().split('\n')
    const mine = listening.filter((line) => line.includes(`pid=${process.pid},`))
    t.same(
      mine.map((line) => line.split(/\s+/)[3]),
      [`127.0.0.1:${server.port}`],
    )
  })
})
