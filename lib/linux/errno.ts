import { constants } from 'node:os'
import { isRecord } from '#base'

/** The positive errno of an error that Node itself threw. */
export const errnoOf = (error: unknown): number | undefined =>
  error instanceof Error && isRecord(error) && typeof error['errno'] === 'number'
    ? Math.abs(error['errno'])
    : undefined

/** `retry later`, the only answer of a non-blocking call that is no failure. */
export const isAgain = (result: number): boolean =>
  result === -constants.errno.EAGAIN || result === -constants.errno.EINTR
/** No such entry. */
export const isAbsent = (result: number): boolean => result === -constants.errno.ENOENT
