import t from 'tap'
import { configMap, deployment, pod, startServer, type Parsed } from './harness.ts'

const core = '/api/v1/namespaces/default'

t.test('reading and writing objects', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/configmaps`

  t.test('a created object has identity, and cannot be created twice', async (t) => {
    const made = await c.call('POST', path, { body: configMap('a', { x: '1' }) })
    t.equal(made.status, 201)
    t.match(made.body.metadata, {
      name: 'a',
      namespace: 'default',
      uid: /^[0-9a-f-]{36}$/,
      creationTimestamp: /Z$/,
      resourceVersion: /^\d+$/,
    })
    const again = await c.call('POST', path, { body: configMap('a') })
    t.equal(again.status, 409)
    t.match(again.body, {
      kind: 'Status',
      reason: 'AlreadyExists',
      message: 'configmaps "a" already exists',
      details: { kind: 'configmaps', name: 'a' },
    })
  })

  t.test('generateName makes a name', async (t) => {
    const made = await c.call('POST', path, {
      body: configMap('', {}, { generateName: 'gen-', name: undefined }),
    })
    t.match(made.body.metadata.name, /^gen-[a-z0-9]{5}$/)
  })

  t.test('a write with an old version conflicts, a current one does not', async (t) => {
    const { body } = await c.call('GET', `${path}/a`)
    const ok = await c.call('PUT', `${path}/a`, { body: { ...body, data: { x: '2' } } })
    t.equal(ok.status, 200)
    const stale = await c.call('PUT', `${path}/a`, { body: { ...body, data: { x: '3' } } })
    t.equal(stale.status, 409)
    t.match(
      stale.body.message,
      /Operation cannot be fulfilled on configmaps "a": the object has been modified/,
    )
  })

  t.test('a write that changes nothing makes no new version', async (t) => {
    const { body } = await c.call('GET', `${path}/a`)
    const same = await c.call('PUT', `${path}/a`, { body })
    t.equal(same.body.metadata.resourceVersion, body.metadata.resourceVersion)
  })

  t.test('dryRun=All answers as if, and stores nothing', async (t) => {
    const before = c.server().api.store.version
    const dry = await c.call('POST', `${path}?dryRun=All`, { body: configMap('dry') })
    t.equal(dry.status, 201)
    t.equal((await c.call('GET', `${path}/dry`)).status, 404)
    t.equal((await c.call('DELETE', `${path}/a?dryRun=All`)).status, 200)
    t.equal((await c.call('GET', `${path}/a`)).status, 200)
    t.equal(c.server().api.store.version, before)
  })

  t.test('patches: JSON, merge and strategic', async (t) => {
    const json = [{ op: 'add', path: '/data/y', value: 'j' }]
    const patched = await c.call('PATCH', `${path}/a`, { type: 'application/json-patch+json', body: json })
    t.match(patched.body.data, { x: '2', y: 'j' })
    const merged = await c.call('PATCH', `${path}/a`, {
      type: 'application/merge-patch+json',
      body: { data: { y: null, z: 'm' } },
    })
    t.same(merged.body.data, { x: '2', z: 'm' })
    await c.call('POST', '/apis/apps/v1/namespaces/default/deployments', { body: deployment('d') })
    const strategic = { spec: { template: { spec: { containers: [{ name: 'c', image: 'x:2' }] } } } }
    const d = await c.call('PATCH', '/apis/apps/v1/namespaces/default/deployments/d', {
      type: 'application/strategic-merge-patch+json',
      body: strategic,
    })
    t.equal(d.body.spec.template.spec.containers[0].image, 'x:2')
    t.equal(d.body.metadata.generation, 2)
    t.equal((await c.call('PATCH', `${path}/a`, { type: 'text/plain', body: 'x' })).status, 415)
    t.equal(
      (await c.call('PATCH', `${path}/none`, { type: 'application/merge-patch+json', body: {} })).status,
      404,
    )
  })

  t.test('the status and the rest are written apart', async (t) => {
    const d = '/apis/apps/v1/namespaces/default/deployments/d'
    const { body } = await c.call('GET', d)
    const main = await c.call('PUT', d, { body: { ...body, status: { replicas: 9 } } })
    t.equal(main.body.status?.replicas, undefined)
    const status = await c.call('PATCH', `${d}/status`, {
      type: 'application/merge-patch+json',
      body: { spec: { replicas: 7 }, status: { replicas: 3, readyReplicas: 3 } },
    })
    t.equal(status.body.status.readyReplicas, 3)
    t.equal(status.body.spec.replicas, 1)
    t.equal(status.body.metadata.generation, body.metadata.generation, 'a status is no change of the spec')
  })

  t.test('scale is one kind for whatever has replicas', async (t) => {
    const d = '/apis/apps/v1/namespaces/default/deployments/d'
    const got = await c.call('GET', `${d}/scale`)
    t.match(got.body, {
      apiVersion: 'autoscaling/v1',
      kind: 'Scale',
      spec: { replicas: 1 },
      status: { replicas: 3, selector: 'app=d' },
    })
    const set = await c.call('PATCH', `${d}/scale`, {
      type: 'application/merge-patch+json',
      body: { spec: { replicas: 4 } },
    })
    t.equal(set.body.spec.replicas, 4)
    t.equal((await c.call('GET', d)).body.spec.replicas, 4)
    const negative = await c.call('PATCH', `${d}/scale`, {
      type: 'application/merge-patch+json',
      body: { spec: { replicas: -1 } },
    })
    t.equal(negative.status, 422)
  })

  t.test('unknown fields: Strict refuses, Warn warns, and neither stores them', async (t) => {
    const body = { ...configMap('typo'), dta: { a: 'b' } }
    const strict = await c.call('POST', `${path}?fieldValidation=Strict`, { body })
    t.equal(strict.status, 400)
    t.match(
      strict.body.message,
      /ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"/,
    )
    const warned = await c.call('POST', path, { body })
    t.equal(warned.status, 201)
    t.match(String(warned.headers['warning']), /^299 - "unknown field \\"dta\\""/)
    t.notOk('dta' in warned.body)
  })

  t.test('what does not fit is refused with a reason', async (t) => {
    const cases: [string, string, object, number, RegExp][] = [
      ['a body that is no JSON', path, { body: '{' }, 400, /couldn't decode/],
      ['no body', path, {}, 400, /empty/],
      ['a list', path, { body: [] }, 400, /not an object/],
      [
        'another kind',
        path,
        { body: { ...configMap('k'), kind: 'Secret' } },
        400,
        /does not match the expected kind/,
      ],
      [
        'another namespace',
        path,
        { body: configMap('k', {}, { namespace: 'other' }) },
        400,
        /does not match the namespace/,
      ],
      ['a bad name', path, { body: configMap('Bad_Name') }, 422, /RFC 1123 subdomain/],
      ['labels of the wrong type', path, { body: configMap('k', {}, { labels: { a: 1 } }) }, 400, /labels/],
      ['an unknown encoding', path, { body: 'x', type: 'text/html' }, 415, /unknown format/],
      [
        'a namespace that is not there',
        '/api/v1/namespaces/nowhere/configmaps',
        { body: configMap('k') },
        404,
        /namespaces "nowhere" not found/,
      ],
      [
        'a resource that is not there',
        `${core}/gizmos`,
        { body: configMap('k') },
        404,
        /could not find the requested resource/,
      ],
      ['bad percent-encoding', `${core}/configmaps/%zz`, { body: configMap('k') }, 400, /percent/],
    ]
    for (const [name, where, options, status, message] of cases) {
      const reply = await c.call('POST', where, options)
      t.equal(reply.status, status, name)
      t.match(reply.body, { kind: 'Status', status: 'Failure', message }, name)
    }
  })

  t.test('a body above the limit is refused before it is read', async (t) => {
    const reply = await c.call('POST', path, { body: 'x'.repeat(3 * 1024 * 1024 + 1) })
    t.equal(reply.status, 413)
  })

  t.test('pages continue where the last one ended, and show the version of the first', async (t) => {
    for (const name of ['p1', 'p2', 'p3'])
      await c.call('POST', path, { body: configMap(name, {}, { labels: { page: 'y' } }) })
    const first = await c.call('GET', `${path}?labelSelector=page%3Dy&limit=2`)
    t.same(
      first.body.items.map((o: Parsed) => o.metadata.name),
      ['p1', 'p2'],
    )
    t.equal(first.body.metadata.remainingItemCount, 1)
    const next = `${path}?labelSelector=page%3Dy&limit=2&continue=${first.body.metadata.continue}`
    const second = await c.call('GET', next)
    t.same(
      second.body.items.map((o: Parsed) => o.metadata.name),
      ['p3'],
    )
    t.equal(second.body.metadata.resourceVersion, first.body.metadata.resourceVersion)
    t.notOk(second.body.metadata.continue)
    t.equal((await c.call('GET', `${path}?limit=2&continue=xyz`)).status, 400)
  })

  t.test('versions: 0 and past ones are served from the present, future ones are not', async (t) => {
    t.equal((await c.call('GET', `${path}?resourceVersion=0`)).status, 200)
    t.equal((await c.call('GET', `${path}?resourceVersion=5&resourceVersionMatch=NotOlderThan`)).status, 200)
    t.equal((await c.call('GET', `${path}?resourceVersion=5&resourceVersionMatch=Exact`)).status, 410)
    t.equal((await c.call('GET', `${path}?resourceVersion=99999`)).status, 504)
    t.equal((await c.call('GET', `${path}?resourceVersion=abc`)).status, 400)
  })

  t.test('a collection is deleted by selector', async (t) => {
    const reply = await c.call('DELETE', `${path}?labelSelector=page%3Dy`)
    t.equal(reply.status, 200)
    t.equal((await c.call('GET', `${path}?labelSelector=page%3Dy`)).body.items.length, 0)
    t.equal((await c.call('GET', `${path}/a`)).status, 200)
  })

  t.test('preconditions hold a deletion back', async (t) => {
    const no = await c.call('DELETE', `${path}/a`, { body: { preconditions: { uid: 'other' } } })
    t.equal(no.status, 409)
    const { body } = await c.call('GET', `${path}/a`)
    const yes = await c.call('DELETE', `${path}/a`, { body: { preconditions: { uid: body.metadata.uid } } })
    t.match(yes.body, { kind: 'Status', status: 'Success', details: { name: 'a', kind: 'configmaps' } })
  })

  t.test('secrets take stringData, and immutable ones stay', async (t) => {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      stringData: { a: 'hello' },
      immutable: true,
    }
    const made = await c.call('POST', `${core}/secrets`, { body: secret })
    t.match(made.body, { type: 'Opaque', data: { a: 'aGVsbG8=' } })
    t.notOk('stringData' in made.body)
    const changed = await c.call('PATCH', `${core}/secrets/s`, {
      type: 'application/merge-patch+json',
      body: { data: { a: 'eA==' } },
    })
    t.equal(changed.status, 422)
  })
})

t.test('pods', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const path = `${core}/pods`

  t.test('need their service account, and get its token, defaults and a first status', async (t) => {
    const lacking = await c.call('POST', path, { body: pod('p') })
    t.equal(lacking.status, 403)
    t.match(lacking.body.message, /pods "p" is forbidden: error looking up service account default\/default/)
    await c.call('POST', `${core}/serviceaccounts`, {
      body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } },
    })
    const made = await c.call('POST', path, {
      body: pod('p', {}, { initContainers: [{ name: 'i', image: 'y' }] }),
    })
    t.equal(made.status, 201)
    t.match(made.body.spec, {
      serviceAccountName: 'default',
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      terminationGracePeriodSeconds: 30,
    })
    const [volume] = made.body.spec.volumes
    t.match(volume, {
      name: /^kube-api-access-/,
      projected: { sources: [{ serviceAccountToken: { path: 'token' } }, {}, {}] },
    })
    t.match(made.body.spec.initContainers[0], {
      imagePullPolicy: 'Always',
      volumeMounts: [{ name: volume.name }],
    })
    t.match(made.body.status, { phase: 'Pending', qosClass: 'BestEffort' })
  })

  t.test('automountServiceAccountToken: false means no token', async (t) => {
    const made = await c.call('POST', path, {
      body: pod('bare', {}, { automountServiceAccountToken: false }),
    })
    t.same(made.body.spec.volumes ?? [], [])
  })

  t.test('are bound to a node once', async (t) => {
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'p' },
      target: { kind: 'Node', name: 'node-1' },
    }
    t.equal((await c.call('POST', `${path}/p/binding`, { body: binding })).status, 201)
    t.equal((await c.call('POST', `${path}/p/binding`, { body: binding })).status, 409)
    const { body } = await c.call('GET', `${path}/p`)
    t.equal(body.spec.nodeName, 'node-1')
    t.match(body.status.conditions, [{ type: 'PodScheduled', status: 'True' }])
  })

  t.test('leave gracefully: marked first, gone when their node says so', async (t) => {
    const marked = await c.call('DELETE', `${path}/p`)
    t.match(marked.body.metadata, { deletionGracePeriodSeconds: 30, deletionTimestamp: /Z$/ })
    const again = await c.call('DELETE', `${path}/p`)
    t.equal(again.body.metadata.deletionTimestamp, marked.body.metadata.deletionTimestamp)
    t.equal((await c.call('GET', `${path}/p`)).status, 200)
    t.equal((await c.call('DELETE', `${path}/p`, { body: { gracePeriodSeconds: 0 } })).status, 200)
    t.equal((await c.call('GET', `${path}/p`)).status, 404)
  })

  t.test('that run nowhere go at once', async (t) => {
    await c.call('DELETE', `${path}/bare`)
    t.equal((await c.call('GET', `${path}/bare`)).status, 404)
  })

  t.test('keep their spec', async (t) => {
    await c.call('POST', path, { body: pod('q') })
    const patch = (spec: object) =>
      c.call('PATCH', `${path}/q`, { type: 'application/strategic-merge-patch+json', body: { spec } })
    t.equal((await patch({ containers: [{ name: 'c', image: 'x:2' }] })).status, 200)
    t.equal((await patch({ hostNetwork: true })).status, 422)
  })

  t.test('may be annotated through their status, as node agents do', async (t) => {
    const body = { metadata: { annotations: { a: 'b' } }, status: { phase: 'Running' } }
    const reply = await c.call('PATCH', `${path}/q/status`, { type: 'application/merge-patch+json', body })
    t.match(reply.body, { metadata: { annotations: { a: 'b' } }, status: { phase: 'Running' } })
  })

  t.test('are evicted by deletion', async (t) => {
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'q' } }
    t.equal((await c.call('POST', `${path}/q/eviction`, { body: eviction })).status, 201)
    t.equal((await c.call('GET', `${path}/q`)).status, 404)
  })
})

t.test('a restart keeps objects and identity, and forgets the past', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const made = await c.call('POST', `${core}/configmaps`, { body: configMap('kept', { x: '1' }) })
  const token = await c.call('GET', '/openid/v1/jwks')
  const past = Number(made.body.metadata.resourceVersion) - 1
  await c.restart()
  const found = await c.call('GET', `${core}/configmaps/kept`)
  t.same(found.body, made.body)
  t.same((await c.call('GET', '/openid/v1/jwks')).body, token.body)
  using expired = await c.watch(`${core}/configmaps?watch=true&resourceVersion=${past}`)
  t.match(await expired.next(), { type: 'ERROR', object: { kind: 'Status', reason: 'Expired', code: 410 } })
  const next = await c.call('POST', `${core}/configmaps`, { body: configMap('later') })
  t.ok(Number(next.body.metadata.resourceVersion) > Number(made.body.metadata.resourceVersion))
})
