/** A number of 64 bits that changes in place. In halves: with BigInts a hash takes ten times as long, and rings are many hashes. */
export class Word64 {
  high = 0
  low = 0

  set(high: number, low: number): this {
    this.high = high | 0
    this.low = low | 0
    return this
  }

  add(high: number, low: number): this {
    const sum = (this.low >>> 0) + (low >>> 0)
    this.high = (this.high + high + (sum > 0xffff_ffff ? 1 : 0)) | 0
    this.low = sum | 0
    return this
  }

  xor(high: number, low: number): this {
    this.high ^= high
    this.low ^= low
    return this
  }

  multiply(high: number, low: number): this {
    const [a0, a1, b0, b1] = [this.low & 0xffff, this.low >>> 16, low & 0xffff, low >>> 16]
    // Of 33 bits at most each, which a double has room for.
    const bottom = a0 * b0
    const inner = a1 * b0 + (bottom >>> 16)
    const outer = a0 * b1 + (inner & 0xffff)
    const carry = a1 * b1 + Math.floor(inner / 65_536) + Math.floor(outer / 65_536)
    this.high = (carry + Math.imul(this.high, low) + Math.imul(this.low, high)) | 0
    this.low = (outer << 16) | (bottom & 0xffff)
    return this
  }

  /** By less than 32 bits, or by more. */
  rotateLeft(bits: number): this {
    const [high, low] = bits < 32 ? [this.high, this.low] : [this.low, this.high]
    const by = bits & 31
    this.high = (high << by) | (low >>> (32 - by))
    this.low = (low << by) | (high >>> (32 - by))
    return this
  }

  /** `this ^= this >> bits`, of less than 33. */
  xorShifted(bits: number): this {
    const { high, low } = this
    if (bits === 32) this.low = low ^ high
    else if (bits > 32) this.low = low ^ (high >>> (bits - 32))
    else {
      this.high = high ^ (high >>> bits)
      this.low = low ^ ((low >>> bits) | (high << (32 - bits)))
    }
    return this
  }

  get value(): bigint {
    return (BigInt(this.high >>> 0) << 32n) | BigInt(this.low >>> 0)
  }
}
