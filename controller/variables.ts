import { z } from 'zod'

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Go's way to write a duration, as Istio's environment has it: `100ms`, `10s`, `1m30s`. */
export const duration = z
  .string()
  .regex(/^(\d+(\.\d+)?(ms|s|m|h))+$/)
  .transform((text) =>
    [...text.matchAll(/([\d.]+)(ms|s|m|h)/g)].reduce(
      (sum, [, n, unit = '']) => sum + Number(n) * (units[unit] ?? 0),
      0,
    ),
  )

export const flag = z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1')
