import t from 'tap'
import { ip } from '#base'
import { MeshState, parseService, parseWorkload } from '#mesh'
import { resolveTarget, type Self } from '../../../waypoint/target/index.ts'
import { serviceWire, workloadWire } from '../../fakes/mesh.ts'

const workload = (...args: Parameters<typeof workloadWire>) => parseWorkload(workloadWire(...args))
const service = (...args: Parameters<typeof serviceWire>) => parseService(serviceWire(...args))

const state = new MeshState('n1')
const waypointKey = 'demo/waypoint.demo.svc.cluster.local'
state.apply({
  workloads: [
    workload({
      name: 'waypoint',
      node: 'n1',
      addresses: ['10.0.0.1'],
      services: { [waypointKey]: { 15008: 15008 } },
    }),
    workload({ name: 'own', addresses: ['10.0.0.2'] }),
    workload({ name: 'bound', namespace: 'bank', addresses: ['10.0.0.3'], waypoint: '10.96.0.1' }),
    workload({ name: 'left', addresses: ['10.0.0.5'] }),
    workload({ name: 'stranger', namespace: 'bank', addresses: ['10.0.0.4'] }),
  ],
  services: [
    service({ name: 'waypoint', vips: ['10.96.0.1'], ports: { 15008: 15008 } }),
    service({ name: 'web', vips: ['10.96.0.2'], ports: { 80: 8080 }, waypoint: '10.96.0.1' }),
    service({ name: 'named', vips: ['10.96.0.3'], ports: { 80: 8080 }, waypoint: waypointKey }),
    service({ name: 'plain', vips: ['10.96.0.4'], ports: { 80: 8080 } }),
    service({
      name: 'far',
      namespace: 'bank',
      vips: ['10.96.0.5'],
      ports: { 80: 8080 },
      waypoint: '10.96.0.1',
    }),
    service({
      name: 'left-for-other',
      vips: ['10.96.0.21'],
      ports: { 80: 8080 },
      waypoint: '10.96.0.20',
    }),
    service({ name: 'left-for-nobody', vips: ['10.96.0.22'], ports: { 80: 1 }, waypoint: '10.96.0.99' }),
    service({ name: 'east', namespace: 'bank', vips: ['10.96.0.20'], ports: { 15008: 15008 } }),
    service({ name: 'left', vips: ['10.96.0.8'], ports: { 80: 8080 } }),
    service({ name: 'foreign', namespace: 'bank', vips: ['10.96.0.6'], ports: { 80: 8080 } }),
    service({
      name: 'other',
      namespace: 'bank',
      vips: ['10.96.0.7'],
      ports: { 80: 8080 },
      waypoint: '10.96.0.9',
    }),
  ],
})
const local = [...state.workloads()].find(({ name }) => name === 'waypoint')
const lately = (key: string) => key.includes('left')
const self: Self = { local, namespace: 'demo', address: ip('10.0.0.1'), network: '', lately }

const cases: [authority: string, title: string, answer: string][] = [
  ['10.96.0.2:80', 'a service by its address', 'service web attached'],
  ['10.96.0.3:80', 'a service that names us by hostname', 'service named attached'],
  ['web.demo.svc.cluster.local:80', 'a service by its hostname', 'service web attached'],
  ['WEB.demo.svc.cluster.local:80', 'hostnames have no case', 'service web attached'],
  ['10.96.0.4:80', 'one of our namespace that has us not', 'refuse 503 not-attached'],
  ['10.96.0.5:80', 'one of another namespace that has us', 'service far attached'],
  ['10.96.0.6:80', 'one of another namespace that has no waypoint', 'refuse 503 not-attached'],
  ['10.96.0.7:80', 'one that has another waypoint', 'refuse 503 not-attached'],
  ['10.96.0.2:81', 'a port that the service has not', 'refuse 503 no-such-port'],
  ['10.96.0.1:15008', 'our own service', 'refuse 503 self-call'],
  ['10.0.0.1:15000', 'ourselves', 'refuse 503 self-call'],
  ['10.0.0.2:9', 'a pod of our namespace that has us not', 'refuse 503 not-attached'],
  ['10.96.0.8:80', 'a service that had us a moment ago', 'service left detached'],
  ['10.96.0.21:80', 'one that has another by now', 'service left-for-other detached bank/east'],
  ['10.96.0.22:80', 'one that has another that nobody knows', 'refuse 503 not-attached'],
  ['10.0.0.5:9', 'a pod that had us a moment ago', 'workload left detached'],
  ['10.0.0.3:9', 'a pod that has us', 'workload bound attached'],
  ['10.0.0.4:9', 'a pod of another namespace', 'refuse 503 not-attached'],
  ['10.0.0.99:9', 'an address of nobody', 'refuse 503 unknown-destination'],
  ['nobody.demo.svc.cluster.local:80', 'a hostname of nobody', 'refuse 503 unknown-hostname'],
  ['127.0.0.1:15000', 'our loopback', 'refuse 503 unknown-destination'],
  ['web', 'no port', 'refuse 400 bad-authority'],
  ['', 'nothing', 'refuse 400 bad-authority'],
  ['10.96.0.2:0', 'port 0', 'refuse 400 bad-authority'],
]
for (const [authority, title, answer] of cases)
  t.test(title, async (t) => {
    const target = resolveTarget(state, self, authority)
    const told =
      target.kind === 'refuse'
        ? `refuse ${target.status} ${target.reason}`
        : `${target.kind} ${target.kind === 'service' ? target.service.name : target.workload.name} ${[target.reason, ...target.beside].join(' ')}`
    t.equal(told, answer)
  })
