import { abortable } from '#base'
import type { SpiffeId, WorkloadCertificate } from '#identity'

/** Fetches a certificate from the control thread, which alone speaks with the CA. */
type Ask = (id: SpiffeId) => Promise<WorkloadCertificate>

/** The certificates that this worker uses, as control knows them: asked for once, then kept up to date by it. */
export class CertificateCopies {
  readonly #ask: Ask
  readonly #held = new Map<SpiffeId, WorkloadCertificate>()
  readonly #asking = new Map<SpiffeId, Promise<WorkloadCertificate>>()

  constructor(ask: Ask) {
    this.#ask = ask
  }

  async get(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate> {
    signal.throwIfAborted()
    const held = this.#held.get(id)
    if (held && held.notAfter.getTime() > Date.now()) return held
    return abortable(this.#asking.get(id) ?? this.#fetch(id), signal)
  }

  /** The certificate that `id` shows now, as far as this worker has been told. */
  current(id: SpiffeId): WorkloadCertificate | undefined {
    return this.#held.get(id)
  }

  /** The newer one is used from now on; what is open keeps the one that it began with. */
  renewed(certificate: WorkloadCertificate): void {
    this.#held.set(certificate.id, certificate)
  }

  forgotten(id: SpiffeId): void {
    this.#held.delete(id)
  }

  #fetch(id: SpiffeId): Promise<WorkloadCertificate> {
    const asking = this.#ask(id)
      .then((certificate) => this.#newest(certificate))
      .finally(() => this.#asking.delete(id))
    asking.catch(() => undefined) // each of those who wait sees it; there may be none left
    this.#asking.set(id, asking)
    return asking
  }

  /** A renewal may have come while the answer was on its way. The later one counts, not the one that lasts longer: its roots are the ones of now. */
  #newest(certificate: WorkloadCertificate): WorkloadCertificate {
    const held = this.#held.get(certificate.id)
    const isGood = held !== undefined && held.notAfter.getTime() > Date.now()
    if (isGood && held.notBefore >= certificate.notBefore) return held
    this.#held.set(certificate.id, certificate)
    return certificate
  }
}
