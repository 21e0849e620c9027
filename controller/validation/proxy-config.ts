import { type Check, fields, into, isThere, map, oneOf, text, warn, whole } from './check.ts'
import { labels } from './formats.ts'

export const proxyConfig: Check = fields(
  {
    selector: fields({ matchLabels: labels }),
    concurrency: whole(0, 1_024),
    environmentVariables: map(text),
    image: fields({ imageType: oneOf('default', 'distroless', 'debug', '') }),
  },
  (value, at) => {
    if (isThere(value['image'])) warn(into(at, 'image'), 'there is one image of a waypoint; it has no effect')
  },
)
