import t from 'tap'
import { optionsThatNpmTook } from '../../sandbox/cli.ts'

t.test('options that npm took for itself are noticed, or another instance would be meant', (t) => {
  t.same(optionsThatNpmTook({ npm_config_name: 'x', npm_config_purge: 'true', npm_config_cache: '/c' }), [
    '--name',
    '--purge',
  ])
  t.same(optionsThatNpmTook({ npm_config_cache: '/c', npm_lifecycle_event: 'sandbox' }), [])
  t.end()
})
