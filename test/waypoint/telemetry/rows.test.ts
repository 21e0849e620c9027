import t from 'tap'
import { Rows, sum } from '../../../waypoint/telemetry/rows.ts'

const newRows = () => new Rows<{ n: number }>(() => ({ n: 0 }))
/** One event of a key and an outcome. */
function count(rows: Rows<{ n: number }>, key: string, outcome: string | number, label?: string | null) {
  const variants = label === undefined ? undefined : { REQUEST_COUNT: { outcome: label } }
  const row = rows.row({
    key,
    outcome,
    labels: () => ({ key, outcome: `${outcome}` }),
    overflow: () => ({ key: 'overflow' }),
    variants,
  })
  row.n++
}
const told = (rows: Rows<{ n: number }>) =>
  rows.told('REQUEST_COUNT', ({ n }) => n, sum).map(({ labels, value }) => ({ ...labels, value }))

t.test('a row is that of its key and its outcome; a number is not the text of it', async (t) => {
  const rows = newRows()
  for (const outcome of [200, '200', 200, 503]) count(rows, 'a', outcome)
  count(rows, 'b', 200)
  t.strictSame(told(rows), [
    { key: 'a', outcome: '200', value: 2 },
    { key: 'a', outcome: '200', value: 1 },
    { key: 'a', outcome: '503', value: 1 },
    { key: 'b', outcome: '200', value: 1 },
  ])
  t.equal(rows.known('a', 200)?.n, 2)
  t.equal(rows.known('a', 201), undefined)
  t.equal(rows.known('c', 200), undefined)
})

t.test('those with other labels are rows of their own, and one where these are the same again', async (t) => {
  const rows = newRows()
  count(rows, 'a', 200)
  count(rows, 'a', 200, 'good')
  count(rows, 'a', 201, 'good')
  count(rows, 'a', 202, null)
  t.equal(rows.known('a', 200)?.n, 1, 'what is found by key and outcome has no variants')
  t.strictSame(told(rows), [
    { key: 'a', outcome: '200', value: 1 },
    { key: 'a', outcome: 'good', value: 2 },
    { key: 'a', value: 1 },
  ])
})

t.test('beyond the bound all that is new shares one row, and what is known goes on', async (t) => {
  const rows = newRows()
  for (let n = 0; n < 5_000; n++) count(rows, `key ${n >> 1}`, n & 1)
  count(rows, 'key 0', 0)
  const all = told(rows)
  t.equal(all.length, 4_097)
  t.strictSame(all.at(-1), { key: 'overflow', value: 904 })
  t.strictSame(all[0], { key: 'key 0', outcome: '0', value: 2 })
})
