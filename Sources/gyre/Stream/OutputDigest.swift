import Attention
import Tensors

/// A number that two runs have in common, practically, only if their outputs are the same bit for
/// bit.
///
/// It is the sum of a hash of each window's index, outputs and log-sum-exps, and so does not depend
/// on who computes which window, and when. The hash is that of Fowler, Noll and Vo (FNV-1a), by
/// words of 32 bits instead of bytes.
struct OutputDigest: Hashable, Codable, CustomStringConvertible {
  private var sum: UInt64 = 0

  /// Adds a window.
  mutating func add(_ output: borrowing AttentionOutput, window: Int) {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func mix(_ word: UInt64) { hash = (hash ^ word) &* 0x0000_0100_0000_01B3 }
    mix(UInt64(window))
    let (o, lse) = (output.o.span, output.lse.span)
    for index in o.indices { mix(UInt64(o[index].bitPattern)) }
    for index in lse.indices { mix(UInt64(lse[index].bitPattern)) }
    sum &+= hash
  }

  /// Adds other windows.
  mutating func add(_ other: OutputDigest) { sum &+= other.sum }

  /// Sixteen hexadecimal digits.
  var description: String {
    let digits = String(sum, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
