/** CPU and heap profiles of all threads, for `go tool pprof`. */
export { Profiler } from './profiler.ts'
