import type { Test } from 'tap'
import { type Caller, openCaller } from './caller.ts'
import {
  apply,
  eventually,
  isCaptured,
  label,
  nameOf,
  namespace,
  pods,
  read,
  readyPods,
  twoNodes,
} from './cluster.ts'

/** What `istioctl waypoint generate` writes. */
export const waypointYaml = (ns: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: ${ns} }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`

/** Every port of an echo pod, as services show them. */
const ports = `[
    { name: http, port: 80, targetPort: 8080 },
    { name: http-alt, port: 8080, targetPort: 8080 },
    { name: h2c, port: 8081, targetPort: 8081, appProtocol: kubernetes.io/h2c },
    { name: websocket, port: 8082, targetPort: 8080, appProtocol: kubernetes.io/ws },
    { name: unnamed, port: 8083, targetPort: 8080 },
    { name: unnamed-h2, port: 8084, targetPort: 8081 },
    { name: grpc, port: 7070, targetPort: 9090 },
    { name: tcp, port: 9000, targetPort: 9000 },
    { name: greeting, port: 9001, targetPort: 9001 },
    { name: tcp-greeting, port: 9002, targetPort: 9001 },
    { name: tls, port: 443, targetPort: 8443 },
    { name: tls-too, port: 8443, targetPort: 8443 }]`

/** An echo Deployment; `labels` beside its own `app` and `version`. */
const echo = (ns: string, name: string, node: string, labels: Readonly<Record<string, string>>): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${ns} }
spec:
  selector: { matchLabels: { pod: ${name} } }
  template:
    metadata: { labels: ${JSON.stringify({ pod: name, ...labels })} }
    spec:
      nodeSelector: { kubernetes.io/hostname: ${node} }
      terminationGracePeriodSeconds: 1
      containers:
        - name: echo
          image: lateen:dev
          command: [node, /opt/lateen/test/e2e/tools/echo.ts]
          env: [{ name: APP, value: ${name} }]
          readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
`

const service = (ns: string, name: string, selector: Readonly<Record<string, string>>, more = ''): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${ns} }
spec:
  selector: ${JSON.stringify(selector)}
  ${more}
  ports: ${ports}
`

/** Where the tables of cases are played. */
export type Stage = Readonly<{
  /** The namespace with the waypoint: `v1` and `v2` behind services echo, reviews, ratings and httpbin, and each behind its own. */
  ns: string
  /** Another namespace of the mesh. */
  consumer: string
  /** A namespace that is not in the mesh, with `outside`. */
  outside: string
  /** The waypoint's, and the other. */
  nodes: Readonly<{ near: string; far: string }>
  callers: Readonly<{ client: Caller; consumer: Caller }>
  /** The text with `$NS`, `$CONSUMER`, `$OUTSIDE`, `$V1_IP`, `$ECHO_IP`, … filled in. */
  fill: (text: string) => string
}>

export const isProgrammed = async (ns: string): Promise<boolean> => {
  const { status } = (await read('gateway.networking.k8s.io/v1', 'Gateway', ns, 'waypoint')) as {
    status?: { conditions?: { type: string; status: string }[] }
  }
  return status?.conditions?.some((one) => one.type === 'Programmed' && one.status === 'True') === true
}

/** Opens namespaces, apps, a waypoint (if there shall be one) and callers; all go with the test. */
export async function openStage(t: Test, base: string, hasWaypoint = true): Promise<Stage> {
  const [here, there] = await twoNodes()
  const ambient = { 'istio.io/dataplane-mode': 'ambient' }
  const ns = await namespace(t, base, ambient)
  const consumer = await namespace(t, `${base}-consumer`, ambient)
  const outside = await namespace(t, `${base}-outside`)
  const all = { app: 'echo' }
  await apply(
    [
      ...(hasWaypoint ? [waypointYaml(ns)] : []),
      echo(ns, 'v1', there, { ...all, version: 'v1' }),
      echo(ns, 'v2', here, { ...all, version: 'v2' }),
      echo(ns, 'client', here, { app: 'client' }),
      echo(consumer, 'client', there, { app: 'client' }),
      echo(outside, 'outside', there, { app: 'outside' }),
      ...['echo', 'reviews', 'ratings', 'httpbin'].map((name) => service(ns, name, all)),
      ...['v1', 'v2'].map((version) => service(ns, `echo-${version}`, { ...all, version })),
      service(ns, 'headless', { ...all, version: 'v1' }, 'clusterIP: None'),
      service(ns, 'nobody', { app: 'nobody' }),
      service(consumer, 'elsewhere', { app: 'client' }),
      service(outside, 'outside', { app: 'outside' }),
    ].join('---'),
  )
  if (hasWaypoint) await label(ns, { 'istio.io/use-waypoint': 'waypoint' })
  const [apps, [clientAway], [outsider]] = await Promise.all([
    readyPods(ns, 'pod', 3),
    readyPods(consumer, 'pod', 1),
    readyPods(outside, 'pod', 1),
    hasWaypoint && eventually('the waypoint is programmed', () => isProgrammed(ns)),
  ])
  await eventually('the pods are captured', async () =>
    [...(await pods(ns, 'pod')), ...(await pods(consumer, 'pod'))].every(isCaptured),
  )
  const podOf = (name: string) => apps.find(({ metadata }) => metadata?.labels?.['pod'] === name)
  const [v1, v2, client] = [podOf('v1'), podOf('v2'), podOf('client')]
  if (!v1 || !v2 || !client || !clientAway || !outsider) throw new Error('an app is missing')
  const callers = {
    client: await openCaller(t, ns, nameOf(client)),
    consumer: await openCaller(t, consumer, nameOf(clientAway)),
  }
  const [waypoint] = await pods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint')
  const isV1Near = waypoint?.spec?.nodeName === there
  const vip = async (name: string) => {
    const { spec } = (await read('v1', 'Service', ns, name)) as { spec: { clusterIP: string } }
    return spec.clusterIP
  }
  const words: Record<string, string> = {
    ANY: '$ANY',
    FRESH: '$FRESH',
    NS: ns,
    CONSUMER: consumer,
    OUTSIDE: outside,
    NEAR: isV1Near ? 'v1' : 'v2',
    FAR: isV1Near ? 'v2' : 'v1',
    V1_IP: v1.status?.podIP ?? '',
    V2_IP: v2.status?.podIP ?? '',
    OUTSIDE_IP: outsider.status?.podIP ?? '',
    OUTSIDE_DASHED: outsider.status?.podIP?.replaceAll('.', '-') ?? '',
    ECHO_VIP: await vip('echo'),
  }
  const nodes = { near: isV1Near ? there : here, far: isV1Near ? here : there }
  return { ns, consumer, outside, nodes, callers, fill: (text) => filled(text, words) }
}

const filled = (text: string, words: Readonly<Record<string, string>>) =>
  text.replace(/\$([A-Z][A-Z0-9_]*)/g, (whole, word: string) => {
    const value = words[word]
    if (value === undefined) throw new RangeError(`no ${whole}`)
    return value
  })
