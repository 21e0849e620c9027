import t from 'tap'
import { type Client, configMap, deployment, eventually, pod, startServer, type Parsed } from './harness.ts'

const core = '/api/v1/namespaces/default'
const gone = (c: Client, path: string) =>
  eventually(async () => ((await c.call('GET', path)).status === 404 ? true : undefined))
const owned = (name: string, owner: Parsed, more: object = {}): Parsed =>
  configMap(
    name,
    {},
    {
      ownerReferences: [
        {
          apiVersion: owner.apiVersion,
          kind: owner.kind,
          name: owner.metadata.name,
          uid: owner.metadata.uid,
          ...more,
        },
      ],
    },
  )

t.test('finalizers', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/configmaps`

  t.test('hold a deleted object until the last one is taken away', async (t) => {
    await c.call('POST', path, {
      body: configMap('f', {}, { finalizers: ['example.com/a', 'example.com/b'] }),
    })
    using w = await c.watch(`${path}/f?watch=true`)
    await w.next()
    const marked = await c.call('DELETE', `${path}/f`)
    t.match(marked.body.metadata, { deletionTimestamp: /Z$/, finalizers: ['example.com/a', 'example.com/b'] })
    t.match(await w.next(), { type: 'MODIFIED' })
    const patch = (finalizers: string[] | null) =>
      c.call('PATCH', `${path}/f`, {
        type: 'application/merge-patch+json',
        body: { metadata: { finalizers } },
      })
    t.equal((await patch(['example.com/a', 'example.com/c'])).status, 422, 'no new ones any more')
    t.equal((await patch(['example.com/a'])).status, 200)
    t.equal((await c.call('GET', `${path}/f`)).status, 200)
    t.equal((await patch(null)).status, 200)
    t.equal((await c.call('GET', `${path}/f`)).status, 404)
    t.match(await w.next(), { type: 'MODIFIED' })
    t.match(await w.next(), { type: 'DELETED' })
  })
})

t.test('owners', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/configmaps`
  const make = async (body: unknown) => (await c.call('POST', path, { body })).body

  t.test('take their dependents with them, through generations', async (t) => {
    const a = await make(configMap('a'))
    const b = await make(owned('b', a))
    await make(owned('c', b))
    await make(configMap('bystander'))
    await c.call('DELETE', `${path}/a`)
    await gone(c, `${path}/b`)
    await gone(c, `${path}/c`)
    t.equal((await c.call('GET', `${path}/bystander`)).status, 200)
  })

  t.test('that never existed are no owners: the dependent goes', async (t) => {
    await make(
      owned('ghost', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', uid: 'no-such-uid' } }),
    )
    await gone(c, `${path}/ghost`)
    t.pass()
  })

  t.test('of a kind that is not served are left alone', async (t) => {
    await make(
      owned('kept', { apiVersion: 'example.com/v1', kind: 'Gizmo', metadata: { name: 'x', uid: 'u' } }),
    )
    await make(
      owned('ghost', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', uid: 'no-such-uid' } }),
    )
    await gone(c, `${path}/ghost`)
    t.equal((await c.call('GET', `${path}/kept`)).status, 200)
  })

  t.test('orphaning leaves the dependents without their owner', async (t) => {
    const a = await make(configMap('o'))
    await make(owned('o-child', a))
    await c.call('DELETE', `${path}/o?propagationPolicy=Orphan`)
    await gone(c, `${path}/o`)
    const child = await c.call('GET', `${path}/o-child`)
    t.equal(child.status, 200)
    t.notOk(child.body.metadata.ownerReferences)
  })

  t.test('in the foreground wait for those who block them', async (t) => {
    const a = await make(configMap('fg'))
    const child = owned('fg-child', a, { blockOwnerDeletion: true })
    await make({ ...child, metadata: { ...child.metadata, finalizers: ['example.com/wait'] } })
    await c.call('DELETE', `${path}/fg?propagationPolicy=Foreground`)
    await eventually(async () => (await c.call('GET', `${path}/fg-child`)).body.metadata?.deletionTimestamp)
    t.match((await c.call('GET', `${path}/fg`)).body.metadata.finalizers, ['foregroundDeletion'])
    await c.call('PATCH', `${path}/fg-child`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    await gone(c, `${path}/fg`)
    t.equal((await c.call('GET', `${path}/fg-child`)).status, 404)
  })

  t.test('one of two is enough to stay', async (t) => {
    const [x, y] = [await make(configMap('x')), await make(configMap('y'))]
    const both = owned('xy', x)
    await make({
      ...both,
      metadata: {
        ...both.metadata,
        ownerReferences: [...both.metadata.ownerReferences, ...owned('', y).metadata.ownerReferences],
      },
    })
    await c.call('DELETE', `${path}/x`)
    const left = await eventually(async () => {
      const { body } = await c.call('GET', `${path}/xy`)
      return body.metadata.ownerReferences.length === 1 ? body : undefined
    })
    t.equal(left.metadata.ownerReferences[0].name, 'y')
  })

  t.test('work left over from before a restart is done after it', async (t) => {
    const a = await make(configMap('late'))
    await make(owned('late-child', a))
    const { store } = c.server().api
    const live = store.get('configmaps', 'default', 'late')
    if (live !== undefined) store.remove('configmaps', live)
    await c.restart()
    await gone(c, `${path}/late-child`)
    t.pass()
  })
})

t.test('namespaces', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const make = async (name: string) =>
    c.call('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    })

  t.test('are born active, with their name as a label', async (t) => {
    t.match((await make('n')).body, {
      metadata: { labels: { 'kubernetes.io/metadata.name': 'n' } },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    })
  })

  t.test('empty themselves when deleted, take no new content, and end', async (t) => {
    await c.call('POST', '/api/v1/namespaces/n/configmaps', { body: configMap('plain') })
    await c.call('POST', '/api/v1/namespaces/n/configmaps', {
      body: configMap('held', {}, { finalizers: ['example.com/x'] }),
    })
    await c.call('POST', '/apis/apps/v1/namespaces/n/deployments', { body: deployment('d') })
    const marked = await c.call('DELETE', '/api/v1/namespaces/n')
    t.match(marked.body, { status: { phase: 'Terminating' }, metadata: { deletionTimestamp: /Z$/ } })
    await gone(c, '/api/v1/namespaces/n/configmaps/plain')
    await gone(c, '/apis/apps/v1/namespaces/n/deployments/d')
    const late = await c.call('POST', '/api/v1/namespaces/n/configmaps', { body: configMap('late') })
    t.match(late, {
      status: 403,
      body: {
        message: /because it is being terminated/,
        details: { causes: [{ reason: 'NamespaceTerminating' }] },
      },
    })
    t.equal((await c.call('GET', '/api/v1/namespaces/n')).status, 200)
    await c.call('PATCH', '/api/v1/namespaces/n/configmaps/held', {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    await gone(c, '/api/v1/namespaces/n')
    t.equal((await make('n')).status, 201, 'the name is free again')
  })

  t.test('of the cluster itself stay', async (t) => {
    t.match(await c.call('DELETE', '/api/v1/namespaces/kube-system'), {
      status: 403,
      body: { message: 'namespaces "kube-system" is forbidden: this namespace may not be deleted' },
    })
  })

  t.test('wait for running pods to be let go by their node', async (t) => {
    await make('p')
    await c.call('POST', '/api/v1/namespaces/p/serviceaccounts', {
      body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } },
    })
    await c.call('POST', '/api/v1/namespaces/p/pods', { body: pod('x', {}, { nodeName: 'node-1' }) })
    await c.call('DELETE', '/api/v1/namespaces/p')
    await eventually(
      async () => (await c.call('GET', '/api/v1/namespaces/p/pods/x')).body.metadata?.deletionTimestamp,
    )
    t.equal((await c.call('GET', '/api/v1/namespaces/p')).status, 200)
    await c.call('DELETE', '/api/v1/namespaces/p/pods/x?gracePeriodSeconds=0')
    await gone(c, '/api/v1/namespaces/p')
    t.pass()
  })
})

t.test('services', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/services`
  const make = (name: string, spec: object) =>
    c.call('POST', path, {
      body: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name },
        spec: { ports: [{ port: 80 }], selector: { app: name }, ...spec },
      },
    })

  t.test('get one address of the first family', async (t) => {
    const { body } = await make('one', {})
    t.match(body.spec, {
      type: 'ClusterIP',
      clusterIP: /^10\.96\./,
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ protocol: 'TCP', targetPort: 80 }],
    })
    t.same(body.spec.clusterIPs, [body.spec.clusterIP])
  })
  t.test('get both families when they ask for them', async (t) => {
    const { body } = await make('two', { ipFamilyPolicy: 'PreferDualStack' })
    t.match(body.spec, { clusterIPs: [/^10\.96\./, /^fd00:10:96::/], ipFamilies: ['IPv4', 'IPv6'] })
    const six = await make('six', { ipFamilies: ['IPv6'] })
    t.match(six.body.spec, { clusterIP: /^fd00:10:96::/, ipFamilyPolicy: 'SingleStack' })
  })
  t.test('may name their address, once', async (t) => {
    t.equal((await make('dns', { clusterIP: '10.96.0.20' })).body.spec.clusterIP, '10.96.0.20')
    t.match(await make('dns2', { clusterIP: '10.96.0.20' }), {
      status: 422,
      body: { message: /already allocated/ },
    })
    t.match(await make('far', { clusterIP: '192.0.2.1' }), {
      status: 422,
      body: { message: /not in the valid range/ },
    })
    await c.call('DELETE', `${path}/dns`)
    t.equal((await make('dns3', { clusterIP: '10.96.0.20' })).status, 201)
  })
  t.test('cannot have the addresses of the cluster’s own, not even before those exist', async (t) => {
    const message = /reserved for Service kube-system\/kube-dns/
    for (const spec of [
      { clusterIP: '10.96.0.10' },
      { clusterIP: 'fd00:10:96:0::a' },
      { ipFamilyPolicy: 'RequireDualStack', clusterIPs: ['10.96.0.21', 'fd00:10:96::a'] },
    ])
      t.match(await make('thief', spec), { status: 422, body: { message } })
    await c.call('DELETE', `${path}/kubernetes`)
    t.equal((await make('api', { clusterIP: '10.96.0.1' })).status, 422)
    const own = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'kubernetes' } }
    const spec = { clusterIP: '10.96.0.1', ports: [{ port: 443 }] }
    t.equal((await c.call('POST', path, { body: { ...own, spec } })).status, 201)
  })
  t.test('cannot have an address twice, however it is spelled', async (t) => {
    t.equal((await make('v6', { clusterIP: 'fd00:10:96:0:0::77' })).status, 201)
    t.equal((await make('v6-too', { clusterIP: 'fd00:10:96::77' })).status, 422)
  })
  t.test('may be headless', async (t) => {
    const { body } = await make('none', { clusterIP: 'None' })
    t.match(body.spec, { clusterIP: 'None', clusterIPs: ['None'], ipFamilyPolicy: 'SingleStack' })
  })
  t.test('keep their address through updates, and may add a family', async (t) => {
    const before = (await c.call('GET', `${path}/one`)).body
    const patch = (spec: object) =>
      c.call('PATCH', `${path}/one`, { type: 'application/merge-patch+json', body: { spec } })
    const added = await patch({ ipFamilyPolicy: 'PreferDualStack' })
    t.equal(added.body.spec.clusterIPs[0], before.spec.clusterIP)
    t.match(added.body.spec.clusterIPs[1], /^fd00/)
    t.equal((await patch({ clusterIP: '10.96.9.9' })).status, 422)
    const put = await c.call('PUT', `${path}/one`, {
      body: { ...before, metadata: { name: 'one' }, spec: { ports: [{ port: 81 }] } },
    })
    t.equal(put.body.spec.clusterIP, before.spec.clusterIP, 'an update without an address keeps it')
  })
  t.test('of type NodePort get a port, and give it back', async (t) => {
    const { body } = await make('np', { type: 'NodePort' })
    const [{ nodePort }] = body.spec.ports
    t.ok(nodePort >= 30_000 && nodePort <= 32_767)
    t.equal((await make('np2', { type: 'NodePort', ports: [{ port: 80, nodePort }] })).status, 422)
    const back = await c.call('PATCH', `${path}/np`, {
      type: 'application/merge-patch+json',
      body: { spec: { type: 'ClusterIP' } },
    })
    t.notOk(back.body.spec.ports[0].nodePort)
  })
  t.test('the API server has its own', async (t) => {
    t.equal((await c.call('GET', `${path}/kubernetes`)).body.spec.clusterIP, '10.96.0.1')
    const slice = await c.call(
      'GET',
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes',
    )
    t.match(slice.body.endpoints, [{ addresses: ['10.77.0.2'] }])
  })
})

t.test('an object cannot be patched larger than it could be written', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/configmaps/big`
  await c.call('POST', `${core}/configmaps`, { body: configMap('big') })
  const grow = (key: string, type = 'application/merge-patch+json') =>
    c.call('PATCH', `${path}?fieldManager=m`, {
      type,
      body: { ...configMap('big'), data: { [key]: 'x'.repeat(1_800_000) } },
    })
  t.equal((await grow('a')).status, 200)
  t.match(await grow('b'), { status: 413, body: { reason: 'RequestEntityTooLarge' } })
  t.equal((await grow('c', 'application/apply-patch+yaml')).status, 413)
  const copy = [{ op: 'copy', from: '/data/a', path: '/data/d' }]
  t.equal((await c.call('PATCH', path, { type: 'application/json-patch+json', body: copy })).status, 413)
  t.same(Object.keys((await c.call('GET', path)).body.data), ['a'])
})
