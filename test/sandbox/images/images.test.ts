import { tmpdir } from 'node:os'
import t from 'tap'
import { findImage, imageName } from '../../../sandbox/images/index.ts'

const names: [string, string][] = [
  ['busybox', 'busybox'],
  ['busybox:1.37', 'busybox'],
  ['docker.io/library/busybox:latest', 'busybox'],
  ['docker.io/curlimages/curl@sha256:0123', 'curlimages/curl'],
  ['localhost:5000/lateen:dev', 'lateen'],
  ['lateen:dev', 'lateen'],
  ['quay.io/foo/bar', 'foo/bar'],
]
for (const [reference, want] of names)
  t.test(`${reference} is ${want}`, async (t) => t.equal(imageName(reference), want))

t.test('our own image has the repository, read-only, and its Node first', async (t) => {
  const found = findImage('lateen:dev', `${tmpdir()}/lateen-image-test`)
  if (found.kind !== 'image') return t.fail(found.message)
  t.match(found.image.env['PATH'], /^\/opt\/lateen\/node_modules\/\.bin:/)
  t.match(found.image.binds[0], { target: '/opt/lateen', readOnly: true })
})

t.test('an unknown image is refused with the names that there are', async (t) => {
  t.match(findImage('quay.io/foo/bar:1', tmpdir()), {
    kind: 'unknown',
    message: /no image "quay.io\/foo\/bar:1" .* busybox/,
  })
})
