import { answers } from './cases-answers.ts'
import { headers } from './cases-headers.ts'
import { limits } from './cases-limits.ts'
import { messages } from './cases-messages.ts'
import { more } from './cases-more.ts'
import { promises } from './cases-promises.ts'
import { retryCases } from './cases-retries.ts'

export type { Case } from './case-kit.ts'

/** Everything that is compared. */
export const cases = [...answers, ...messages, ...retryCases, ...limits, ...more, ...promises, ...headers]
