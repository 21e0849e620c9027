/** The admin server, on loopback. */
export { adminRoutes } from './routes.ts'
export { serveAdmin } from './server.ts'
