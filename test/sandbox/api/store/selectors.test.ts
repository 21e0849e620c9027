import t from 'tap'
import {
  labelSelectorText,
  parseFieldSelector,
  parseLabelSelector,
} from '../../../../sandbox/api/store/index.ts'

const labelled = (labels: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns', labels },
})

const labelCases: [string, Record<string, string>, boolean][] = [
  ['', {}, true],
  ['app=web', { app: 'web' }, true],
  ['app==web', { app: 'db' }, false],
  ['app=', { app: '' }, true],
  ['app!=web', {}, true],
  ['app!=web', { app: 'web' }, false],
  ['app in (web, db)', { app: 'db' }, true],
  ['app in (web,db),tier=x', { app: 'db' }, false],
  ['app notin (web,db)', {}, true],
  ['app notin (web,db)', { app: 'web' }, false],
  ['app', { app: '' }, true],
  ['!app', { app: 'x' }, false],
  ['a.io/b-c', { 'a.io/b-c': '1' }, true],
  ['n>3,n<5', { n: '4' }, true],
  ['n>3', { n: 'x' }, false],
]
for (const [text, labels, want] of labelCases)
  t.test(
    `label selector ${JSON.stringify(text)} ${want ? 'chooses' : 'leaves'} ${JSON.stringify(labels)}`,
    async (t) => {
      const parsed = parseLabelSelector(text)
      t.equal(parsed.kind === 'selector' && parsed.matches(labelled(labels)), want)
    },
  )

t.test('an object without labels has none, not those of the prototype', async (t) => {
  const parsed = parseLabelSelector('constructor')
  t.equal(parsed.kind === 'selector' && parsed.matches({ apiVersion: 'v1', kind: 'X', metadata: {} }), false)
})

for (const text of ['app in web', '=x', 'a=b c', 'app in (a', 'a=b,,=', 'x'.repeat(9000)])
  t.test(`label selector ${text.slice(0, 20)} is refused`, async (t) =>
    t.equal(parseLabelSelector(text).kind, 'reject'),
  )

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns' },
  spec: { nodeName: 'n1' },
  status: { phase: 'Running' },
}
const fieldCases: [string, boolean][] = [
  ['metadata.name=p,metadata.namespace=ns', true],
  ['spec.nodeName=n1', true],
  ['spec.nodeName!=n1', false],
  ['status.phase==Pending', false],
  ['spec.hostNetwork=false', true],
  ['status.podIP=', true],
]
for (const [text, want] of fieldCases)
  t.test(`field selector ${text} is ${want}`, async (t) => {
    const parsed = parseFieldSelector(text, 'pods')
    t.equal(parsed.kind === 'selector' && parsed.matches(pod), want)
  })

t.test('fields that the resource cannot be selected by are refused; a CRD may name its own', async (t) => {
  t.equal(parseFieldSelector('spec.nodeName=x', 'configmaps').kind, 'reject')
  t.equal(parseFieldSelector('spec.nodeName', 'pods').kind, 'reject')
  t.equal(parseFieldSelector('spec.color=red', 'things.example.com', ['.spec.color']).kind, 'selector')
})

t.test('events are selected by what they are about', async (t) => {
  const event = { ...pod, kind: 'Event', involvedObject: { uid: 'u' }, source: { component: 'kubelet' } }
  const parsed = parseFieldSelector('involvedObject.uid=u,source=kubelet', 'events')
  t.equal(parsed.kind === 'selector' && parsed.matches(event), true)
})

t.test('a selector of an object has a text form', async (t) => {
  t.equal(
    labelSelectorText({
      matchLabels: { a: 'b' },
      matchExpressions: [
        { key: 'x', operator: 'NotIn', values: ['1', '2'] },
        { key: 'y', operator: 'DoesNotExist' },
      ],
    }),
    'a=b,x notin (1,2),!y',
  )
})
