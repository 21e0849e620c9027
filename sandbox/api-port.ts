import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { SandboxConfig } from './config.ts'

/** A loopback port for the API server: the same as last time if nobody took it, so that kubeconfigs stay good. */
export async function chooseApiPort({ stateDir }: Pick<SandboxConfig, 'stateDir'>): Promise<number> {
  const file = `${stateDir}/api-port`
  const last = Number(await readFile(file, 'utf8').catch(() => '0'))
  const port = (await freePort(last).catch(() => undefined)) ?? (await freePort(0))
  await writeFile(file, String(port))
  return port
}

async function freePort(wanted: number): Promise<number> {
  const server = createServer().listen({ host: '127.0.0.1', port: wanted })
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : wanted
}
