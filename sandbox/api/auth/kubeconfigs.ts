import { mkdirSync, readFileSync } from 'node:fs'
import { stringify } from 'yaml'
import type { SandboxConfig } from '../../config.ts'
import { type CertificateFiles, pkiFiles, writePrivate } from './pki.ts'

/** Where the kubeconfigs are that `writeKubeconfigs` writes. */
export const kubeconfigFiles = (config: SandboxConfig) => ({
  /** The user's, with all rights. */
  admin: config.kubeconfig,
  controllers: `${config.stateDir}/kubeconfigs/controllers.conf`,
  node: (name: string): string => `${config.stateDir}/kubeconfigs/${name}.conf`,
})

/** Writes the kubeconfigs of the user, the controllers and each node; the first two through loopback at `apiPort`. */
export function writeKubeconfigs(config: SandboxConfig, apiPort: number): void {
  const pki = pkiFiles(config)
  const files = kubeconfigFiles(config)
  mkdirSync(`${config.stateDir}/kubeconfigs`, { recursive: true, mode: 0o700 })
  const loopback = `https://127.0.0.1:${apiPort}`
  const fabric = `https://${config.fabric.apiIpv4}:${config.fabric.apiPort}`
  const write = (path: string, server: string, user: string, client: CertificateFiles) =>
    writePrivate(path, kubeconfig(config.name, server, user, pki.ca, client))
  write(files.admin, loopback, 'kubernetes-admin', pki.admin)
  write(files.controllers, loopback, 'system:kube-controller-manager', pki.controllers)
  for (const { name } of config.nodes) write(files.node(name), fabric, `system:node:${name}`, pki.node(name))
}

const base64 = (path: string) => readFileSync(path).toString('base64')

const kubeconfig = (
  name: string,
  server: string,
  user: string,
  ca: CertificateFiles,
  client: CertificateFiles,
): string =>
  stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(ca.certificate) } }],
      users: [
        {
          name: user,
          user: {
            'client-certificate-data': base64(client.certificate),
            'client-key-data': base64(client.key),
          },
        },
      ],
      contexts: [{ name, context: { cluster: name, user } }],
      'current-context': name,
    },
    { lineWidth: 0 },
  )
