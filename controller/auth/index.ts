export {
  type Authenticate,
  type Authenticated,
  type Caller,
  callerFrom,
  type Refused,
  tokenAuthenticator,
} from './token-authenticator.ts'
