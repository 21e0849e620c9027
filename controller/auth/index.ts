export { type AllowanceOptions, Allowances } from './allowances.ts'
export {
  type Authenticate,
  type Authenticated,
  type Caller,
  callerFrom,
  type Refused,
  tokenAuthenticator,
} from './token-authenticator.ts'
