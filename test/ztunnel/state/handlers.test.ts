import fc from 'fast-check'
import t from 'tap'
import { addressHandler, MeshState } from '../../../ztunnel/state/index.ts'
import { workloadWire } from '../../fakes/mesh.ts'

t.test('no bytes of a resource make the state throw', async (t) => {
  const state = new MeshState('n1')
  const handler = addressHandler(state)
  const good = workloadWire({ name: 'w', addresses: ['10.0.0.1'], services: { 'a/b': { 80: 80 } } })
  const { workload: wire } = await import('#wire')
  const encoded = wire.Address.encode({ type: { $case: 'workload', value: good } }).finish()
  fc.assert(
    fc.property(
      fc.nat(encoded.length - 1),
      fc.nat(255),
      fc.uint8Array({ maxLength: 40 }),
      (at, byte, noise) => {
        const mutant = Uint8Array.from(encoded)
        mutant[at] = byte
        for (const bytes of [mutant, noise]) handler.apply([{ name: 'x', version: '', bytes }], [])
        return true
      },
    ),
    { numRuns: 3000 },
  )
  t.ok([...state.workloads()].length < 3000)
})
