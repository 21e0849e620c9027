import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { messageOf } from '#base'
import { completed, eventually, type WorldNode } from '../fakes/mesh-world.ts'
import { connectIn, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, twoNodes } from '../fakes/two-nodes.ts'
import { authorityOf, crl } from '../lib/identity/certificate-kit.ts'

type Dump = { certificates: { identity: string; certChain: { serialNumber: string }[] }[] }

async function serialOf({ ztunnel }: WorldNode, account: string): Promise<Buffer> {
  const response = await fetch(`http://127.0.0.1:${ztunnel.ports.admin}/config_dump`)
  const { certificates } = (await response.json()) as Dump
  const held = certificates.find(({ identity }) => identity.endsWith(`/sa/${account}`))
  const hex = BigInt(held?.certChain[0]?.serialNumber ?? 0).toString(16)
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
}
const metric = async ({ ztunnel }: WorldNode, name: string, ...labels: string[]) =>
  (await ztunnel.registry.metrics())
    .split('\n')
    .some((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))

t.test(
  'a revoked certificate loses its open connections and gets no new ones, from either end',
  { skip: needsRoot },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'ztunnel-crl-'))
    const path = join(folder, 'ca-crl.pem')
    const nodes = await twoNodes('zti', { CRL_PATH: path, COMPLIANCE_POLICY: 'pqc' })
    const { world, n1, n2, client, server } = nodes
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    })
    const by = authorityOf(world.ca.root)
    const publish = async (...revoked: Buffer[]) => {
      await writeFile(`${path}.new`, crl({ by, revoked }))
      await rename(`${path}.new`, path)
    }
    const call = async () => {
      try {
        return await talk(await connectIn(client.netns, server.v4, 8080), 'hello')
      } catch (error) {
        return messageOf(error)
      }
    }
    const open = async () => {
      const socket = await connectIn(client.netns, server.v4, 8080)
      socket.on('error', () => undefined)
      socket.write('first')
      await once(socket, 'data')
      return socket
    }
    t.match(await call(), /hello/, 'post-quantum key exchange, and no list yet')

    for (const [account, node, reporter, direction] of [
      ['client', n2, 'destination', 'inbound'],
      ['server', n1, 'source', 'outbound'],
    ] as const) {
      const held = await open()
      const gone = new Promise<void>((resolve) => held.once('close', () => resolve()))
      const serial = await serialOf(account === 'client' ? n1 : n2, account)
      const began = performance.now()
      await publish(serial)
      await gone
      const took = Math.round(performance.now() - began)
      t.ok(took < 20_000, `${account}: ${took} ms from the file to the end of the connection`)
      const last = () => completed(node).findLast((line) => line['direction'] === direction)
      await eventually(() => /revoked/.test(String(last()?.['error'])), 'the log says so')
      t.match(last(), { level: 'error', error: 'certificate of the peer has been revoked' })
      t.ok(
        await metric(node, 'istio_crl_policy_rejections_total', `reporter="${reporter}"`),
        'the rejection is counted',
      )
      const flag = ['response_flags="CERT_REVOKED"', `reporter="${reporter}"`]
      t.ok(await metric(node, 'istio_tcp_connections_closed_total', ...flag), 'with its flag')
      t.notMatch(await call(), /hello/, 'no new connection')
      await publish()
      await eventually(async () => /hello/.test(await call()), 'welcome again')
    }
  },
)
