import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startServer } from './harness.ts'

/** KUBECTL names another client than the one on the PATH. */
const kubectl = process.env['KUBECTL'] ?? 'kubectl'
const missing = spawnSync(kubectl, ['version', '--client']).status !== 0 && 'kubectl is not installed'

const web = (replicas: number, extra = '') => `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: ${replicas}${extra}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "x:1", ports: [{containerPort: 80}]}]}
`
const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, kind: Thing, shortNames: [th]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
`
const thing = (spec: string) => `
apiVersion: example.com/v1
kind: Thing
metadata: {name: one, namespace: demo}
spec: {${spec}}
`

t.test('unmodified kubectl', { skip: missing }, async (t) => {
  const c = await startServer()
  const dir = mkdtempSync(join(tmpdir(), 'lateen-kubectl-'))
  t.teardown(async () => {
    await c[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  type Ran = { code: number; out: string }
  const run = (line: string, ...more: string[]) =>
    new Promise<Ran>((resolve) => {
      const args = [
        '--kubeconfig',
        c.config.kubeconfig,
        '--cache-dir',
        join(dir, 'cache'),
        ...line.split(' '),
        ...more,
      ]
      execFile(kubectl, args, { timeout: 100_000 }, (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : 1
        resolve({ code, out: stdout + stderr })
      })
    })
  /** Each line: exit code, command, what it prints. */
  const transcript = async (lines: readonly [number, string, RegExp, ...string[]][]) => {
    for (const [code, line, want, ...more] of lines) {
      const ran = await run(line, ...more)
      t.equal(ran.code, code, `${line} exits with ${code}: ${ran.out.slice(0, 400)}`)
      t.match(ran.out, want, line)
    }
  }
  const apply = file('web.yaml', web(2))
  const changed = file('web3.yaml', web(3))
  const typo = file('typo.yaml', web(1, '\n  replicaz: 2'))
  const definition = file('crd.yaml', crd)
  const good = file('good.yaml', thing('size: 3'))
  const bad = file('bad.yaml', thing('size: 0'))
  const wrong = file('wrong.yaml', thing('size: 1, colour: red'))

  t.test('looks around', () =>
    transcript([
      [0, 'version', /Server Version: v1\.\d+\.\d+-lateen/],
      [0, 'api-resources', /deployments +deploy +apps\/v1 +true +Deployment/],
      [0, 'api-versions', /rbac\.authorization\.k8s\.io\/v1/],
      [0, 'get ns', /default +Active/],
      [0, 'get --raw /readyz', /^ok/],
      [0, 'explain deployment.spec.strategy', /FIELD: strategy <DeploymentStrategy>/],
      [0, 'get all -A', /default +service\/kubernetes +ClusterIP +10\.96\.0\.1/],
      [1, 'get gizmos', /the server doesn't have a resource type "gizmos"/],
      [1, 'get pod nope', /Error from server \(NotFound\): pods "nope" not found/],
    ]),
  )

  t.test('creates, in protobuf', () =>
    transcript([
      [0, 'create namespace demo', /namespace\/demo created/],
      [1, 'create namespace demo', /AlreadyExists.*namespaces "demo" already exists/],
      [0, 'create configmap cm -n demo --from-literal=a=b', /configmap\/cm created/],
      [0, 'get cm cm -n demo -o jsonpath={.data.a}', /^b$/],
      [0, 'create secret generic s -n demo --from-literal=p=q', /secret\/s created/],
      [0, 'create sa default -n demo', /serviceaccount\/default created/],
      [0, 'create deployment made -n demo --image=x:1 --replicas=2', /deployment.apps\/made created/],
      [0, 'create role r -n demo --verb=get --resource=pods', /role.rbac.authorization.k8s.io\/r created/],
      [0, 'run p -n demo --image=x:1 --restart=Never', /pod\/p created/],
      [0, 'expose deployment made -n demo --port=80', /service\/made exposed/],
    ]),
  )

  t.test('applies, from the client and on the server', () =>
    transcript([
      [0, 'apply -f', /service\/web created[^]*deployment.apps\/web created/, apply],
      [0, 'apply -f', /service\/web unchanged[^]*deployment.apps\/web unchanged/, apply],
      [0, 'apply -f', /deployment.apps\/web configured/, changed],
      [0, 'diff -f', /^$/, changed],
      [1, 'diff -f', /-  replicas: 3\n\+  replicas: 2/, apply],
      [0, 'apply --dry-run=server -f', /deployment.apps\/web configured \(server dry run\)/, apply],
      [0, 'get deploy web -n demo -o jsonpath={.spec.replicas}', /^3$/],
      [0, 'apply --server-side --force-conflicts -f', /deployment.apps\/web serverside-applied/, changed],
      [
        1,
        'apply --server-side --field-manager=other -f',
        /Apply failed with 1 conflict: conflict with "kubectl"[^]*\.spec\.replicas/,
        apply,
      ],
      [1, 'apply -f', /strict decoding error: unknown field "spec\.replicaz"/, typo],
    ]),
  )

  t.test('shows and changes', () =>
    transcript([
      [0, 'get deploy,svc -n demo -o wide', /deployment\.apps\/web +0\/3 +0 +0 +\d+s +c +x:1 +app=web/],
      [0, 'get pods -n demo', /p +0\/1 +Pending +0/],
      [0, 'describe deployment web -n demo', /RollingUpdateStrategy: +25% max unavailable, 25% max surge/],
      [0, 'describe pod p -n demo', /Status: +Pending/],
      [0, 'describe ns demo', /Status: +Active/],
      [0, 'label deploy web -n demo tier=front', /labeled/],
      [0, 'get deploy -n demo -l tier=front -o name', /^deployment\.apps\/web\n$/],
      [0, 'annotate deploy web -n demo note=x', /annotated/],
      [0, 'scale deploy web -n demo --replicas=5', /scaled/],
      [0, 'get deploy web -n demo -o jsonpath={.spec.replicas}', /^5$/],
      [
        0,
        'patch deploy web -n demo -p',
        /patched/,
        '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"y:1"}]}}}}',
      ],
      [0, 'patch deploy web -n demo --type=merge -p', /patched/, '{"spec":{"replicas":1}}'],
      [
        0,
        'patch deploy web -n demo --type=json -p',
        /patched/,
        '[{"op":"replace","path":"/spec/replicas","value":2}]',
      ],
      [0, 'set image deploy/web -n demo c=z:2', /image updated/],
      [0, 'rollout restart deploy/web -n demo', /restarted/],
      [0, 'get deploy web -n demo -o jsonpath={.spec.template.spec.containers[0].image}', /^z:2$/],
      [0, 'get pods -n demo --field-selector=status.phase=Pending -o name', /pod\/p/],
      [1, 'get pods -n demo --field-selector=spec.colour=red', /field label not supported/],
    ]),
  )

  t.test('waits for a status that somebody writes', async (t) => {
    const { body } = await c.call('GET', '/apis/apps/v1/namespaces/demo/deployments/web')
    const waiting = run('rollout status deploy/web -n demo --timeout=15s')
    const available = run('wait deploy/web -n demo --for=condition=Available --timeout=15s')
    const status = {
      observedGeneration: body.metadata.generation,
      replicas: 2,
      updatedReplicas: 2,
      readyReplicas: 2,
      availableReplicas: 2,
      conditions: [{ type: 'Available', status: 'True' }],
    }
    await c.call('PATCH', '/apis/apps/v1/namespaces/demo/deployments/web/status', {
      type: 'application/merge-patch+json',
      body: { status },
    })
    t.match(await waiting, { code: 0, out: /successfully rolled out/ })
    t.match(await available, { code: 0, out: /condition met/ })
    t.match(await run('wait deploy/made -n demo --for=condition=Available --timeout=1s'), {
      code: 1,
      out: /timed out/,
    })
  })

  t.test('asks about access', () =>
    transcript([
      [0, 'auth whoami', /kubernetes-admin/],
      [0, 'auth can-i create pods', /^yes/],
      [1, 'auth can-i create pods --as=system:serviceaccount:demo:default -n demo', /^no/],
      [0, 'auth can-i --list --as=system:serviceaccount:demo:default -n demo', /selfsubjectreviews/],
      [0, 'create token default -n demo', /^ey[\w-]+\.[\w-]+\.[\w-]+/],
      [
        1,
        'get pods -n demo --as=system:serviceaccount:demo:default',
        /Forbidden.*cannot list resource "pods" in API group "" in the namespace "demo"/,
      ],
    ]),
  )

  t.test('works with custom kinds', () =>
    transcript([
      [
        0,
        'apply -f',
        /customresourcedefinition.apiextensions.k8s.io\/things.example.com created/,
        definition,
      ],
      [0, 'wait --for=condition=Established crd/things.example.com --timeout=5s', /condition met/],
      [1, 'apply -f', /The Thing "one" is invalid: spec\.size: Invalid value: 0/, bad],
      [1, 'apply -f', /strict decoding error: unknown field "spec\.colour"/, wrong],
      [0, 'apply -f', /thing.example.com\/one created/, good],
      [0, 'apply -f', /thing.example.com\/one unchanged/, good],
      [0, 'apply --server-side -f', /thing.example.com\/one serverside-applied/, good],
      [0, 'get th -n demo', /NAME +SIZE\none +3/],
      [0, 'explain thing.spec.size', /How big it is/],
      [0, 'delete crd things.example.com', /deleted/],
      [1, 'get th -n demo', /doesn't have a resource type|not find the requested resource/],
    ]),
  )

  t.test('deletes', () =>
    transcript([
      [0, 'delete pod p -n demo', /pod "p" deleted/],
      [0, 'delete -f', /service "web" deleted[^]*deployment.apps "web" deleted/, apply],
      [0, 'wait --for=delete deploy/web -n demo --timeout=5s', /^/],
      [0, 'delete ns demo --timeout=10s', /namespace "demo" deleted/],
      [1, 'get ns demo', /NotFound/],
    ]),
  )
})
