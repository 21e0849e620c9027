import { excluding, type Few, including, membersOf } from './groups.ts'

/** What one or more dependents asked; each of them remembers it by one reference. */
export type Question = Readonly<{ withdraw: (dependent: string) => void }>

class Asked implements Question {
  readonly #among: Map<string, Asked>
  readonly #about: string
  askers: Few | undefined

  constructor(among: Map<string, Asked>, about: string) {
    this.#among = among
    this.#about = about
  }

  withdraw(dependent: string): void {
    this.askers = excluding(this.askers, dependent)
    if (this.askers === undefined) this.#among.delete(this.#about)
  }
}

/** Questions of one sort (for a key, for a value of one index), and who asked them. */
export class Questions {
  readonly #asked = new Map<string, Asked>()

  ask(about: string, dependent: string): Question {
    const known = this.#asked.get(about)
    const question = known ?? new Asked(this.#asked, about)
    if (!known) this.#asked.set(about, question)
    question.askers = including(question.askers, dependent)
    return question
  }

  askers(about: string): Iterable<string> {
    return membersOf(this.#asked.get(about)?.askers)
  }

  /** What a dependent asked. Looks through all questions. */
  of(dependent: string): readonly string[] {
    return [...this.#asked]
      .filter(([, { askers }]) => (askers instanceof Set ? askers.has(dependent) : askers === dependent))
      .map(([about]) => about)
  }
}
