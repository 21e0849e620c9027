import t from 'tap'
import { messageOf } from '#base'
import { parseConfig } from '../../ztunnel/config.ts'

const registryOnly = (env: Readonly<Record<string, string>>) => {
  try {
    return parseConfig({ NODE_NAME: 'n1', ...env }).registryOnly
  } catch (error) {
    return messageOf(error)
  }
}
const only = 'outboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n'
const any = 'outboundTrafficPolicy:\n  mode: ALLOW_ANY\n'

const cases: [string, Readonly<Record<string, string>>, boolean | RegExp][] = [
  ['nothing said', {}, false],
  [
    'MeshConfig says so',
    { MESH_CONFIG: `trustDomain: cluster.local\nrootNamespace: istio-system\n${only}` },
    true,
  ],
  ['MeshConfig says otherwise', { MESH_CONFIG: any }, false],
  ['MeshConfig says nothing', { MESH_CONFIG: 'trustDomain: cluster.local' }, false],
  ['a MeshConfig of comments', { MESH_CONFIG: '# nothing' }, false],
  ['an empty policy', { MESH_CONFIG: 'outboundTrafficPolicy:' }, false],
  ['our own variable goes first', { MESH_CONFIG: only, OUTBOUND_TRAFFIC_POLICY: 'ALLOW_ANY' }, false],
  ['alone, too', { OUTBOUND_TRAFFIC_POLICY: 'REGISTRY_ONLY' }, true],
  [
    'an unknown mode',
    { MESH_CONFIG: 'outboundTrafficPolicy: {mode: NOTHING_AT_ALL}' },
    /MESH_CONFIG.*outboundTrafficPolicy.mode/,
  ],
  ['no YAML', { MESH_CONFIG: 'a: [b' }, /MESH_CONFIG/],
  ['no object', { MESH_CONFIG: 'hello' }, /MESH_CONFIG/],
  ['an unknown value of our own', { OUTBOUND_TRAFFIC_POLICY: 'some' }, /OUTBOUND_TRAFFIC_POLICY/],
]
for (const [name, env, want] of cases)
  t.test(`REGISTRY_ONLY: ${name}`, async (t) => void t.match(registryOnly(env), want))
