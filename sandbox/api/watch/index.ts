export { plainLine, serveWatch, type ServeOptions } from './serve.ts'
export { initialEvents, selectEvent, type WatchEvent, type WatchRequest, type WatchStart } from './watch.ts'
