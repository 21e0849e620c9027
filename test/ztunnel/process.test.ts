import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { workloadResource } from '../fakes/mesh.ts'
import { ControlPlane, NodeOfProcesses } from '../fakes/ztunnel-process.ts'
import { until } from '../fakes/until.ts'

/** Metrics whose names, labels and meaning are promised; all others say that they are not. */
const core = new Set([
  'istio_build',
  'istio_tcp_connections_opened',
  'istio_tcp_connections_closed',
  'istio_tcp_sent_bytes',
  'istio_tcp_received_bytes',
])
/** Of those that have a value before there was any traffic. */
const expected = [
  'istio_build gauge',
  'istio_xds_message counter',
  'istio_xds_message_bytes counter',
  'workload_manager_active_proxy_count gauge',
  'workload_manager_pending_proxy_count gauge',
  'workload_manager_proxies_started counter',
  'workload_manager_proxies_stopped counter',
  'process_open_fds gauge',
  'process_max_fds gauge',
  'lateen_policies gauge',
  'lateen_log_lines_dropped counter',
]

t.test('a ztunnel in a process of its own, with two data workers', async (t) => {
  using plane = await ControlPlane.start()
  plane.resources = workloadResource({ name: 'server', node: 'n1', addresses: ['10.0.0.2'] })
  await using node = new NodeOfProcesses(plane, 'n1', { ISTIO_META_ISTIO_VERSION: '1.30.0-test' })
  const ztunnel = await node.start()
  const get = async (which: 'admin' | 'stats', path: string, options: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${ztunnel.port(which)}${path}`, options)
    return { status: answer.status, headers: answer.headers, body: Buffer.from(await answer.arrayBuffer()) }
  }

  await t.test(
    "its metrics are OpenMetrics under ztunnel's names, and say which are not stable",
    async (t) => {
      const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'
      const { headers, body } = await get('stats', '/stats/prometheus', { headers: { accept } })
      t.match(headers.get('content-type'), 'application/openmetrics-text')
      const text = body.toString()
      t.match(text, /# EOF\n$/)
      const families = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`)
      t.equal(new Set(families).size, families.length, 'each family once, whatever number of workers has it')
      for (const family of expected) t.ok(families.includes(family), family)
      for (const [, name = '', help] of text.matchAll(/^# HELP (\S+) (.*)$/gm))
        if (!core.has(name)) t.match(help, /\(unstable\)/, name)
      t.match(text, /^istio_build\{component="ztunnel",tag="1\.30\.0-test"\} 1$/m)
      t.match(
        text,
        /^istio_xds_message_total\{url="type\.googleapis\.com\/istio\.workload\.Address"\} [1-9]/m,
      )
      t.notMatch(text, /^lateen_bugs_total/m, 'no bug')
    },
  )

  await t.test('its dump has what the control plane sent', async (t) => {
    const { body } = await get('admin', '/config_dump')
    const dump = JSON.parse(body.toString())
    t.match(dump.workloads, [{ name: 'server' }])
    t.match(dump.version, { version: '1.30.0-test' })
    t.match(dump.certificates, [{ identity: /sa\/server$/ }])
  })

  await t.test('a profile shows the control thread and the workers', async (t) => {
    const { status, body } = await get('admin', '/debug/pprof/profile?seconds=1&frequency=1000')
    t.equal(status, 200)
    const profile = gunzipSync(body).toString('latin1')
    for (const thread of ['control', 'data-0', 'data-1']) t.ok(profile.includes(thread), thread)
  })

  await t.test('asked to quit it answers when it has drained, and ends well', async (t) => {
    t.equal((await get('admin', '/quitquitquit')).status, 405)
    const { status, body } = await get('admin', '/quitquitquit', { method: 'POST' })
    t.strictSame([status, body.toString()], [200, 'shutdown now\n'])
    t.equal(await ztunnel.ended, 0)
    await until(() => ztunnel.lines.some(({ message }) => message === 'shutting down'), 'its last words')
    t.notOk(ztunnel.lines.some(({ level }) => level === 'error'))
  })
})
