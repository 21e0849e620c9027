/** `npm run sandbox -- up|down|status|kubeconfig|restart-api [--name X] [--nodes N]`: a Kubernetes cluster on this machine. */
import { enableCompileCache } from 'node:module'
import { messageOf } from '#base'
import { compileCache } from './compile-cache.ts'

enableCompileCache(compileCache)
// Loaded after the cache is on, which makes a second start twice as fast.
const { runCommand } = await import('./cli.ts')
try {
  process.exitCode = await runCommand()
} catch (error) {
  process.stderr.write(`sandbox: ${messageOf(error)}\n`)
  process.exitCode = 1
}
