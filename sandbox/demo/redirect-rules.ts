import { readdir } from 'node:fs/promises'
import type { SandboxConfig } from '../config.ts'
import { must } from '../net/index.ts'

/** What a redirect leaves behind in a pod: chains and tables of Istio's names, the mark's rule, its routing table. */
const traces = [
  { command: ['nft', 'list', 'ruleset'], pattern: /istio/i },
  { command: ['ip', 'rule'], pattern: /fwmark 0x111/ },
  { command: ['ip', '-6', 'rule'], pattern: /fwmark 0x111/ },
  { command: ['ip', 'route', 'show', 'table', 'all'], pattern: /table 100\b/ },
] as const

/** Lines of redirect rules in the network namespaces of all pods, read back from the kernel. */
export async function redirectRules(config: SandboxConfig): Promise<string[]> {
  const found: string[] = []
  for (const node of config.nodes) {
    const folder = `${node.root}/run/netns`
    for (const name of await readdir(folder).catch(() => [])) {
      for (const { command, pattern } of traces) {
        const text = await must(['nsenter', `--net=${folder}/${name}`, ...command])
        found.push(...text.split('\n').filter((line) => pattern.test(line)))
      }
    }
  }
  return found
}
