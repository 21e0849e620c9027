import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { ChannelCredentials, Metadata } from '@grpc/grpc-js'
import { z } from 'zod'
import { createCsr, generateKeyPair, spiffeId } from '#identity'
import { ca } from '#wire'

/** As many as a ztunnel asks for at a time. */
const parallel = 8
const clients = 4
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' })

const Ready = z.object({ port: z.number(), rootPem: z.string() })
const Usage = z.object({ cpuUs: z.number(), p99Ms: z.number() })

async function usageOf(server: ChildProcess) {
  server.send('usage')
  const [message]: unknown[] = await once(server, 'message')
  return Usage.parse(message)
}

/** What one repetition came to. */
type CaRun = Readonly<{ perCore: number; perSecond: number; p99Ms: number }>

/** CSRs signed through gRPC and TLS, for a node proxy that asks for an identity of its node; per second of the server's CPU. */
export async function measureCa(
  o: Readonly<{ repetitions: number; seconds: number }>,
): Promise<readonly CaRun[]> {
  const server = fork(new URL('server.ts', import.meta.url))
  try {
    const [message]: unknown[] = await once(server, 'message')
    const { port, rootPem } = Ready.parse(message)
    const csrs = Array.from({ length: 200 }, () => createCsr({ id, key: generateKeyPair() }))
    const connections = Array.from(
      { length: clients },
      () =>
        new ca.IstioCertificateServiceClient(
          `127.0.0.1:${port}`,
          ChannelCredentials.createSsl(Buffer.from(rootPem)),
          { 'grpc.ssl_target_name_override': 'ca.bench', 'grpc.use_local_subchannel_pool': 1 },
        ),
    )
    const runs: CaRun[] = []
    for (let n = 0; n <= o.repetitions; n++) {
      const before = await usageOf(server)
      const started = performance.now()
      const signed = await askFor(connections, csrs, o.seconds * 1000)
      const seconds = (performance.now() - started) / 1000
      const { cpuUs, p99Ms } = await usageOf(server)
      if (n === 0) continue // to warm up
      runs.push({ perCore: signed / ((cpuUs - before.cpuUs) / 1e6), perSecond: signed / seconds, p99Ms })
    }
    for (const connection of connections) connection.close()
    return runs
  } finally {
    server.disconnect()
  }
}

/** `measureCa`, for people. */
export async function benchCa(o: Readonly<{ repetitions: number; seconds: number }>): Promise<void> {
  for (const { perCore, perSecond, p99Ms } of await measureCa(o))
    process.stdout.write(
      `ca: ${perCore.toFixed(0)} CSRs per second of CPU (${perSecond.toFixed(0)} per second here, ` +
        `event loop delayed by ${p99Ms.toFixed(1)} ms at p99 with ${clients * parallel} requests waiting)\n`,
    )
}

async function askFor(
  connections: readonly ca.IstioCertificateServiceClient[],
  csrs: readonly string[],
  ms: number,
): Promise<number> {
  const end = performance.now() + ms
  let signed = 0
  const asker = async (connection: ca.IstioCertificateServiceClient) => {
    while (performance.now() < end) {
      await ask(connection, csrs[signed % csrs.length] ?? '')
      signed++
    }
  }
  await Promise.all(
    connections.flatMap((connection) => Array.from({ length: parallel }, () => asker(connection))),
  )
  return signed
}

const ask = (connection: ca.IstioCertificateServiceClient, csr: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const metadata = new Metadata()
    metadata.set('authorization', 'Bearer token')
    connection.createCertificate(
      { csr, validityDuration: 86_400, metadata: { ImpersonatedIdentity: id } },
      metadata,
      (error) => (error ? reject(error) : resolve()),
    )
  })
