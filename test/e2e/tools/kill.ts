/**
 * Runs in a pod with hostPID: `node kill.ts <pod name>` sends SIGKILL to the processes of that pod, found by the
 * POD_NAME that the downward API gave them, and prints how many there were.
 */
import { readdirSync, readFileSync } from 'node:fs'

const [pod = ''] = process.argv.slice(2)
if (pod === '') throw new RangeError('a pod name')
const environment = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
  } catch {
    return [] // gone, or a kernel thread
  }
}
const pids = readdirSync('/proc').filter(
  (name) => /^\d+$/.test(name) && environment(name).includes(`POD_NAME=${pod}`),
)
for (const pid of pids) process.kill(Number(pid), 'SIGKILL')
process.stdout.write(`${pids.length}\n`)
