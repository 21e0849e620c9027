import fc from 'fast-check'

/** What a suite's dice begin with: a run in CI tries what the run before it tried. FUZZ_SEED=n tries something else. */
const seed = Number(process.env['FUZZ_SEED'] ?? 20_267)

fc.configureGlobal({ seed })
