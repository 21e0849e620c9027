export { type NodeServicesOptions, startNodeServices } from './app.ts'
