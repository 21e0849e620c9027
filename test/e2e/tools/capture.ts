/**
 * Runs in a host-network pod: `node capture.ts <device> <seconds> <marker>` captures the node's traffic and prints
 * what it counted as one JSON object.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { frameCounter, pcapReader } from '../../../sandbox/demo/pcap.ts'

const [device = 'eth0', seconds = '3', marker = ''] = process.argv.slice(2)
if (marker.length < 8) throw new RangeError('a marker of at least 8 characters')
const { counts, add } = frameCounter(marker)
const tcpdump = spawn('tcpdump', ['-i', device, '-U', '--immediate-mode', '-s', '0', '-w', '-'], {
  stdio: ['ignore', 'pipe', 'pipe'],
})
tcpdump.stdout.on('data', pcapReader(add))
tcpdump.stderr.pipe(process.stderr)
await once(tcpdump.stderr, 'data') // "listening on …"
setTimeout(() => tcpdump.kill('SIGTERM'), Number(seconds) * 1000)
if (tcpdump.exitCode === null) await once(tcpdump, 'close')
process.stdout.write(`${JSON.stringify(counts)}\n`)
