import type { FrameCounts } from '../../../sandbox/demo/pcap.ts'
import { apply, exec, nameOf, pods, readyPods } from './cluster.ts'

const yaml = `
apiVersion: v1
kind: Namespace
metadata: { name: e2e-tools }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: node-tools, namespace: e2e-tools }
spec:
  selector: { matchLabels: { app: node-tools } }
  template:
    metadata: { labels: { app: node-tools } }
    spec:
      hostNetwork: true
      hostPID: true
      terminationGracePeriodSeconds: 0
      tolerations: [{ operator: Exists }]
      containers:
        - name: tools
          image: lateen:dev
          command: [sleep, infinity]
          securityContext: { privileged: true }
`

/** A pod with the node's own network and processes, on each node; made on first use and kept for the other tests. */
async function toolsOn(node: string): Promise<string> {
  if ((await pods('e2e-tools', 'app=node-tools').catch(() => [])).length === 0) await apply(yaml)
  const found = await readyPods('e2e-tools', 'app=node-tools', 2)
  const pod = found.find(({ spec }) => spec?.nodeName === node)
  if (!pod) throw new Error(`no tools on ${node}`)
  return nameOf(pod)
}

/** Runs a program of test/e2e/tools, or any other command, with the network and processes of a node. */
async function onNode(node: string, command: string[]): Promise<string> {
  const { code, stdout, stderr } = await exec('e2e-tools', await toolsOn(node), command)
  if (code !== 0) throw new Error(`${command.join(' ')} on ${node}: exit ${code}: ${stderr}`)
  return stdout
}

/** Captures a node's link for some seconds and counts the frames that show `marker`. */
export const captureOn = async (node: string, seconds: number, marker: string): Promise<FrameCounts> =>
  JSON.parse(
    await onNode(node, ['node', '/opt/lateen/test/e2e/tools/capture.ts', 'eth0', String(seconds), marker]),
  ) as FrameCounts

/** SIGKILLs the processes of a pod of that node, as a crash or the kernel's OOM killer would. */
export async function killPod(node: string, pod: string): Promise<void> {
  const killed = await onNode(node, ['node', '/opt/lateen/test/e2e/tools/kill.ts', pod])
  if (Number(killed) < 1) throw new Error(`no process of ${pod} on ${node}`)
}
