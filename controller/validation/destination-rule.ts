import { isRecord } from '#base'
import { type Check, fields, into, list, listAt, refuse, required, shown } from './check.ts'
import { exportTo, host, label, labels } from './formats.ts'
import { trafficPolicy } from './traffic-policy.ts'

const subset = fields({ name: label, labels, trafficPolicy }, (value, at) => required(value, at, 'name'))

export const destinationRule: Check = fields(
  {
    host: host({ wildcard: true }),
    trafficPolicy,
    subsets: list(subset),
    exportTo,
    workloadSelector: fields({ matchLabels: labels }),
  },
  (value, at) => {
    required(value, at, 'host')
    const names = listAt(value, 'subsets').map((one) => (isRecord(one) ? one['name'] : undefined))
    for (const [n, name] of names.entries())
      if (name !== undefined && names.indexOf(name) < n)
        refuse(into(into(into(at, 'subsets'), n), 'name'), `${shown(name)} is there twice`)
    const far = listAt(value, 'exportTo').filter((one) => one !== '.')
    if (isRecord(value['workloadSelector']) && far.length > 0)
      refuse(into(at, 'exportTo'), 'beside a workloadSelector it can only be . (the own namespace)')
  },
)
