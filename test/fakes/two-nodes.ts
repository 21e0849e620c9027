import type { Server } from 'node:net'
import { serviceResource, type WorkloadDraft, workloadResource } from './mesh.ts'
import { MeshWorld, type WorldNode } from './mesh-world.ts'
import { listenIn, type PodNet } from './pod-net.ts'

/** Root, or the reason to skip. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : 'needs root'

export const clientId = 'cluster.local/ns/demo/sa/client'

export type TwoNodes = Readonly<{
  world: MeshWorld
  n1: WorldNode
  n2: WorldNode
  client: PodNet
  server: PodNet
  /** Not in the mesh. */
  stranger: PodNet
}>

/** `client` on n1 and `server` on n2, captured and known to both nodes; service web is 10.96.0.10, fd96::10. */
export async function twoNodes(
  prefix: string,
  env: Readonly<Record<string, string>> = {},
): Promise<TwoNodes> {
  const world = new MeshWorld(prefix)
  try {
    const client = world.network.pod('client', 1)
    const server = world.network.pod('server', 2)
    const stranger = world.network.pod('stranger', 3)
    const n1 = await world.node('n1', env)
    const n2 = await world.node('n2', env)
    const nodes = { world, n1, n2, client, server, stranger }
    for (const node of [n1, n2]) await node.push(resourcesOf(nodes))
    for (const [node, pod] of [
      [n1, client],
      [n2, server],
    ] as const) {
      const ack = await node.enrol(pod)
      if (ack !== '') throw new Error(ack)
      pod.capture()
    }
    return nodes
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

export const resourcesOf = (
  { client, server }: Pick<TwoNodes, 'client' | 'server'>,
  serverDraft: Partial<WorkloadDraft> = {},
) => ({
  ...workloadResource({ name: 'client', node: 'n1', addresses: [client.v4, client.v6] }),
  ...workloadResource({
    name: 'server',
    node: 'n2',
    addresses: [server.v4, server.v6],
    services: { 'demo/web.demo.svc.cluster.local': { 80: 8080 } },
    ...serverDraft,
  }),
  ...serviceResource({ name: 'web', vips: ['10.96.0.10', 'fd96::10'], ports: { 80: 8080 } }),
})

/** An app on 8080 that answers who connected, then what was sent. */
export const echoIn = (pod: PodNet): Promise<Server> =>
  listenIn(pod.netns, 8080, (socket) => {
    socket.write(`${socket.remoteAddress?.replace('::ffff:', '')} `)
    socket.pipe(socket)
  })
