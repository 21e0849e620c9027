import type { Extension } from './generated/workload.ts'

/**
 * Among the extensions of a service or workload: where its waypoint has nobody who takes connections they go on without
 * it. Said only where the waypoint's owner wants it and no policy is attached that only a waypoint enforces.
 */
const name = 'lateen.dev/waypoint-fail-open'

/** Says it. */
export const failOpenExtension: Extension = { name, config: undefined }

/** Is it said? */
export const failsOpen = (extensions: readonly Extension[]): boolean =>
  extensions.some((one) => one.name === name)
