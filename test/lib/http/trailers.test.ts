import t from 'tap'
import { allowedTrailers } from '../../../lib/http/h1/body-decoder.ts'

const names: readonly (readonly [name: string, passes: boolean])[] = [
  ['grpc-status', true],
  ['x-checksum', true],
  ['x_checksum', true],
  ['x-forwarded-client-cert', false],
  ['x_forwarded_client_cert', false],
  ['x-envoy-internal', false],
  ['x_envoy_original_path', false],
  ['x-istio-source', false],
  ['x_istio_source', false],
  ['content-length', false],
  ['content_length', false],
  ['host', false],
  ['authorization', false],
  ['cookie', false],
  ['set-cookie', false],
]

t.test('nothing comes in trailers that a reader might take for a header of importance', async (t) => {
  for (const [name, passes] of names) t.equal(allowedTrailers([name, 'v']).length > 0, passes, name)
})
