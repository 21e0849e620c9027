import {
  atMostOne,
  type Check,
  fields,
  filled,
  into,
  list,
  map,
  needsOne,
  oneOf,
  refuse,
  required,
  text,
  warn,
  whole,
} from './check.ts'
import { labels, port } from './formats.ts'

const seconds = whole(0, 2 ** 31 - 1)
const ways = ['httpGet', 'tcpSocket', 'exec', 'grpc']
const probe = fields(
  {
    initialDelaySeconds: seconds,
    timeoutSeconds: seconds,
    periodSeconds: seconds,
    successThreshold: seconds,
    failureThreshold: seconds,
    httpGet: fields(
      {
        path: (value, at) => {
          text(value, at)
          if (typeof value === 'string' && value !== '' && !value.startsWith('/'))
            refuse(at, 'does not start with /')
        },
        port,
        host: text,
        scheme: oneOf('HTTP', 'HTTPS', ''),
        httpHeaders: list(fields({ name: filled, value: text }, (value, at) => required(value, at, 'name'))),
      },
      (value, at) => required(value, at, 'port'),
    ),
    tcpSocket: fields({ port, host: text }, (value, at) => required(value, at, 'port')),
    exec: fields({ command: list(filled, { least: 1 }) }, (value, at) => required(value, at, 'command')),
    grpc: fields({ port, service: text }, (value, at) => required(value, at, 'port')),
  },
  (value, at) => {
    needsOne(value, at, ways)
    atMostOne(value, at, ways)
  },
)

const template = fields({
  address: (value, at) => {
    if (value !== '') warn(at, 'a template needs none: each machine that registers brings its own')
  },
  ports: map(port),
  labels,
  network: text,
  locality: text,
  weight: whole(0, 2 ** 32 - 1),
  serviceAccount: text,
})

export const workloadGroup: Check = fields(
  { metadata: fields({ labels, annotations: map(text) }), template, probe },
  (value, at) => {
    if (value['template'] === undefined) refuse(into(at, 'template'), 'is needed')
  },
)
