import t from 'tap'
import { silent } from '#telemetry'
import { sandboxConfig } from '../../../../sandbox/config.ts'
import { createAuthenticator } from '../../../../sandbox/api/auth/index.ts'
import { sweepEvents } from '../../../../sandbox/api/gc/index.ts'
import { rbacOf } from '../../../../sandbox/api/rest/api.ts'
import { Kinds } from '../../../../sandbox/api/rest/kinds.ts'
import { openDatabase, Store } from '../../../../sandbox/api/store/index.ts'
import { generateKeyPairSync } from 'node:crypto'

t.test('events go an hour after they were last seen', async (t) => {
  using store = new Store(openDatabase(':memory:'))
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const signingKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const now = Date.parse('2026-01-01T10:00:00Z')
  const api = {
    config: sandboxConfig('x'),
    store,
    kinds: new Kinds(),
    authenticator: createAuthenticator({ signingKeyPem }),
    rbac: rbacOf(store),
    log: silent,
    now: () => now,
    random: Math.random,
  }
  const event = (name: string, fields: object) =>
    store.save('events', {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: 'ns', creationTimestamp: '2026-01-01T08:00:00Z' },
      ...fields,
    })
  event('old', {})
  event('repeated', { lastTimestamp: '2026-01-01T09:30:00Z' })
  sweepEvents(api)
  t.same(
    store.list('events').map((o) => o.metadata.name),
    ['repeated'],
  )
})
