/** `POST /validate` on its port, until disposed. */
export { serveWebhook, type WebhookOptions } from './serve.ts'
/** AdmissionReview v1: read, judged, answered. */
export { answerReview, type Findings, type Judge, judge, parseReview, type Reviewed } from './review.ts'
