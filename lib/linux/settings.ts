import { addon, succeed } from './addon.ts'
import type { Netns } from './netns.ts'

/**
 * What waits in the queue of a listener that closes goes to another listener of the same port (tcp_migrate_req, Linux
 * 5.14). Throws where /proc/sys may not be written, as in most containers.
 */
export function migrateRequests(netns: Netns): void {
  succeed('tcp_migrate_req', addon().writeSetting(netns.fd, '/proc/sys/net/ipv4/tcp_migrate_req', '1'))
}
