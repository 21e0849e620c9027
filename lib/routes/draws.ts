import type { Fault, FaultStatus, Forward, InvalidDestination, Mirror, PartsPerMillion } from './model.ts'

const million = 1_000_000

/** Whether this one is among so many of a million; `random` is from 0 to below 1. */
export const isDrawn = (ppm: PartsPerMillion, random: () => number): boolean =>
  ppm >= million || (ppm > 0 && random() * million < ppm)

/** What is done to this request on purpose: first it waits, then it is answered. */
export type FaultDraw = Readonly<{ delayMs: number; abort?: FaultStatus }>

export function drawFault(fault: Fault | undefined, random: () => number): FaultDraw {
  const delayMs = fault?.delay && isDrawn(fault.delay.ppm, random) ? fault.delay.delayMs : 0
  const abort = fault?.abort && isDrawn(fault.abort.ppm, random) ? fault.abort.with : undefined
  return { delayMs, ...(abort === undefined ? {} : { abort }) }
}

/** Who is to be sent a copy. One that is not there gets none; its share is not given to others. */
export const drawMirrors = (
  { mirrors }: Forward,
  random: () => number,
): readonly Exclude<Mirror['to'], InvalidDestination>[] =>
  mirrors.flatMap(({ to, ppm }) => (to.kind === 'service' && isDrawn(ppm, random) ? [to] : []))
