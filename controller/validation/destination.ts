import {
  type At,
  type Check,
  fields,
  filled,
  list,
  map,
  number,
  refuse,
  required,
  shown,
  text,
} from './check.ts'
import { host, isHeaderName, label, port } from './formats.ts'

/** Where to: a host of the registry, perhaps a subset of it. */
export const destination = fields(
  { host: host({ wildcard: true }), subset: label, port: fields({ number: port }) },
  (value, at) => {
    required(value, at, 'host')
    if (value['host'] === '*') refuse({ ...at, path: `${at.path}.host` }, '"*" is no place to go to')
  },
)

export const percentage: Check = fields({ value: number(0, 100) })

const pseudo = [':authority']
const operationName = (name: string, at: At): void => {
  if (!pseudo.includes(name) && !isHeaderName(name))
    refuse(at, 'is not the name of a header that can be changed')
}
const values = map(text, operationName)
const operations = fields({
  set: values,
  add: values,
  remove: list((value, at) => {
    filled(value, at)
    if (typeof value === 'string' && !isHeaderName(value))
      refuse(at, `${shown(value)} is not the name of a header`)
  }),
})

export const headerOperations = fields({ request: operations, response: operations })
