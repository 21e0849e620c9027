/**
 * One node with a pod `server` in a process of its own, whose descriptors a test can limit (`prlimit --nofile=256`).
 * Says `{ fabric, ports }` when it is up; takes one command per line and answers each with one line.
 */
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { codeOf, messageOf } from '#base'
import { completed, MeshWorld } from './mesh-world.ts'
import { policyResource, workloadResource } from './mesh.ts'

const [prefix = 'lim'] = process.argv.slice(2)
await using world = new MeshWorld(prefix)
const server = world.network.pod('server', 2)
world.network.pod('stranger', 3)
const node = await world.node('n2')
await node.push(workloadResource({ name: 'server', node: 'n2', addresses: [server.v4, server.v6] }))
await node.enrol(server)
server.capture()

const held: number[] = []
function exhaust(): number {
  for (;;)
    try {
      held.push(openSync('/dev/null', 'r'))
    } catch (error) {
      if (codeOf(error) === 'EMFILE') return held.length
      throw error
    }
}

const commands: Record<string, () => unknown> = {
  /** Takes every descriptor that is left. */
  exhaust,
  release: () => {
    for (const fd of held.splice(0)) closeSync(fd)
  },
  /** A push and its acknowledgement, over the stream that is open. */
  push: () => node.pushPolicies(policyResource({ name: 'some', action: 'deny', principals: ['nobody'] })),
  metrics: () => node.ztunnel.registry.metrics(),
  completed: () => completed(node).length,
  waitingFor: () => node.ztunnel.readiness.waitingFor,
  cpu: () => process.cpuUsage(),
}
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value ?? null)}\n`)
say({ fabric: world.network.fabric, ports: node.ztunnel.ports })
for await (const line of createInterface(process.stdin)) {
  try {
    say(await commands[line]?.())
  } catch (error) {
    say({ error: messageOf(error) })
  }
}
