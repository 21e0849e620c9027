import t from 'tap'
import { ip, type SocketAddress } from '#base'
import { applyPodRules } from '../../cni/rules/index.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { FakeNetwork, type PodNet } from '../fakes/pod-net.ts'
import { needsRoot, resourcesOf } from '../fakes/two-nodes.ts'
import { ControlPlane, NodeOfProcesses } from '../fakes/ztunnel-process.ts'
import { question, read } from '../ztunnel/dns/kit.ts'
import { type Asked, askTcpIn, askUdpIn, nameserverIn } from './dns-world.ts'

t.setTimeout(300_000)

/** Restarts of the node's ztunnel; more by hand: RESTARTS=50. */
const rounds = Number(process.env['RESTARTS'] ?? 2)
/** A question that was lost is never answered; one on a busy machine is. */
const patienceMs = 20_000

t.test(
  'a restart of ztunnel loses no question, over UDP or TCP, of the mesh or not',
  { skip: needsRoot },
  async (t) => {
    const plane = await ControlPlane.start()
    const network = new FakeNetwork('zdr')
    const client = network.pod('client', 1)
    const server = network.pod('server', 2)
    plane.resources = resourcesOf({ client, server })
    const node = new NodeOfProcesses(plane, 'n1', { CONNECTION_TERMINATION_DEADLINE: '10s' })
    node.add(client)
    const seen: Asked[] = []
    const upstream = await nameserverIn(server.netns, 'server', '9.9.9.9', seen)
    t.teardown(async () => {
      await node[Symbol.asyncDispose]()
      upstream[Symbol.dispose]()
      network[Symbol.dispose]()
      plane[Symbol.dispose]()
    })
    let current = await node.start()
    await applyPodRules(
      { netns: client.netns, backend: { kind: 'nftables' }, signal: AbortSignal.timeout(60_000) },
      { ipv6: true, dnsCapture: true, ingressMode: false, virtualInterfaces: [], phase: 'capture' },
    )
    client.migrateRequests()
    const questions = new Questions(client, { address: ip(server.v4), port: 53 })
    t.teardown(() => questions.stop())
    await eventually(() => questions.answered > 50, 'questions are answered')
    for (let round = 0; round < rounds; round++) {
      const next = await node.start()
      t.equal(await current.kill('SIGTERM'), 0, 'the old one ends by itself')
      current = next
      const before = questions.answered
      await eventually(() => questions.answered > before + 50, 'questions are answered')
    }
    await questions.stop()
    t.comment(`${questions.answered} questions`)
    t.same(questions.lost, [])
  },
)

/** Asks without a pause until it is stopped. */
class Questions {
  answered = 0
  readonly lost: string[] = []
  #going = true
  readonly #loops: Promise<void>[]

  constructor(pod: PodNet, server: SocketAddress) {
    const ways = [
      { name: 'web', want: 'web A 10.96.0.10', ask: askUdpIn },
      { name: 'web', want: 'web A 10.96.0.10', ask: askTcpIn },
      { name: 'example.org', want: 'example.org A 9.9.9.9', ask: askUdpIn },
      { name: 'example.org', want: 'example.org A 9.9.9.9', ask: askTcpIn },
    ]
    this.#loops = ways.map(async ({ name, want, ask }) => {
      while (this.#going) {
        const reply = await ask(pod.netns, server, question({ name }), patienceMs)
        const [answer = 'nothing'] = reply ? read(reply).answers : []
        if (answer === want) this.answered++
        else this.lost.push(`${ask.name} ${name}: ${answer}`)
      }
    })
  }

  async stop(): Promise<void> {
    this.#going = false
    await Promise.all(this.#loops)
  }
}
