import t from 'tap'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { nodeConflist, parseChain, pluginInput, saidBy } from '../../../sandbox/net/cni.ts'

const [node] = sandboxConfig('cni', 1).nodes
if (!node) throw new Error('one node')
const attachment = {
  containerId: 'c',
  netns: 'n',
  podName: 'p',
  podNamespace: 'd',
  podUid: 'u',
  portMappings: [],
}
const ports = [{ hostPort: 80, containerPort: 8080, protocol: 'tcp' as const }]
const chain = { name: 'net', cniVersion: '1.0.0', plugins: [] }

t.test('pod networks are routed and never masqueraded', async (t) => {
  const { plugins } = nodeConflist(node)
  t.strictSame(
    plugins.map(({ type }) => type),
    ['ptp', 'portmap'],
  )
  t.match(plugins[0], {
    ipMasq: false,
    ipam: { ranges: [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd00:10:244:1::/64' }]] },
  })
})

t.test('a plugin gets its own configuration, the chain and what came before', async (t) => {
  const plugin = { type: 'x', capabilities: { portMappings: true }, own: 1 }
  const prevResult = { ips: [] }
  t.strictSame(
    pluginInput({
      attachment: { ...attachment, portMappings: ports },
      chain,
      plugin,
      prevResult,
      ifname: 'eth0',
    }),
    {
      type: 'x',
      own: 1,
      name: 'net',
      cniVersion: '1.0.0',
      runtimeConfig: { portMappings: ports },
      prevResult,
    },
  )
})

t.test('port mappings go only to plugins that say they can, and only if there are any', async (t) => {
  const without = {
    attachment: { ...attachment, portMappings: ports },
    chain,
    plugin: { type: 'x' },
    ifname: 'eth0',
  }
  t.notOk('runtimeConfig' in pluginInput(without))
  const none = {
    attachment,
    chain,
    plugin: { type: 'x', capabilities: { portMappings: true } },
    ifname: 'eth0',
  }
  t.notOk('runtimeConfig' in pluginInput(none))
})

const files: [string, string, string][] = [
  ['a list', '{"name":"n","cniVersion":"0.4.0","plugins":[{"type":"a"},{"type":"b"}]}', 'n 0.4.0 a b'],
  ['a single plugin', '{"name":"n","type":"a"}', 'n 0.3.1 a'],
  ['no JSON', '{', 'none'],
  ['no name', '{"plugins":[{"type":"a"}]}', 'none'],
  ['a plugin without a type', '{"name":"n","plugins":[{"type":"a"},{}]}', 'none'],
  ['an empty list', '{"name":"n","plugins":[]}', 'none'],
  ['not an object', '[]', 'none'],
]
for (const [name, text, want] of files) {
  t.test(`a configuration file with ${name}`, async (t) => {
    const parsed = parseChain(text)
    t.equal(
      parsed
        ? `${parsed.name} ${parsed.cniVersion} ${parsed.plugins.map(({ type }) => String(type)).join(' ')}`
        : 'none',
      want,
    )
  })
}

const words: [string, string, string, string][] = [
  ['its message', '{"code":7,"msg":"no","details":"because"}', 'noise', 'no; because'],
  ['its message without details', '{"code":7,"msg":"no","details":""}', '', 'no'],
  ['stderr when stdout is no error', '{}', 'boom\n', 'boom'],
  ['stdout when there is nothing else', 'plain', '', 'plain'],
  ['that it said nothing', '', '', 'no message'],
]
for (const [name, stdout, stderr, want] of words)
  t.test(`of a failed plugin we report ${name}`, async (t) => t.equal(saidBy(stdout, stderr), want))
