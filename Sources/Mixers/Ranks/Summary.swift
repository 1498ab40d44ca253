import MPI
import SequenceParallel
import Tensors

/// Sums and maxima over all ranks: for operators that need a summary of fixed size of the whole
/// sequence.
///
/// Each rank adds up one part of the summary, in the order of the ranks and in `Double`, and tells
/// all others: `2 (P − 1) / P` times the summary leaves a rank in `2 (P − 1)` messages, and all
/// ranks have the same bits.
enum Summary {
  case sum, maximum

  private static let tag = 1

  /// Combines the numbers of all ranks in place, called by all of them together.
  @unsafe
  func combine(
    _ numbers: UnsafeMutableBufferPointer<Float>, on line: RankLine
  ) throws(MPIError) {
    let ranks = line.ranks
    if ranks == 1 || numbers.isEmpty { return }
    let count = numbers.count
    let cuts = (0...ranks).map { count * $0 / ranks }
    let parts = (0..<ranks).map { rank in
      unsafe Piece(
        unowned: UnsafeMutableRawBufferPointer(
          UnsafeMutableBufferPointer(rebasing: numbers[cuts[rank]..<cuts[rank + 1]])))
    }
    let own = cuts[line.rank]..<cuts[line.rank + 1]
    let incoming = StreamMemory.pieces(
      sizes: (0..<ranks).map { _ in own.count * MemoryLayout<Float>.stride })
    let gathering = PeerExchange("parts of sums")
    try gathering.begin(sending: parts, receiving: incoming, tag: Self.tag, on: line.wire)
    try line.wait(for: "parts of sums") { () throws(MPIError) in try gathering.isFinished() }
    for (index, place) in own.enumerated() {
      var total = self == .sum ? 0.0 : -Double.infinity
      for piece in incoming {
        let number = Double(piece.bytes.number(at: 4 * index, as: Float.self))
        total = self == .sum ? total + number : max(total, number)
      }
      unsafe numbers[place] = Float(total)
    }
    let telling = PeerExchange("sums")
    try telling.begin(
      sending: (0..<ranks).map { _ in parts[line.rank] }, receiving: parts, tag: Self.tag + 1,
      on: line.wire)
    try line.wait(for: "sums") { () throws(MPIError) in try telling.isFinished() }
  }

  /// Combines a tensor of all ranks in place.
  func combine(_ tensor: MixerTensor, on line: RankLine) throws(MPIError) {
    try unsafe combine(tensor.numbers, on: line)
  }
}
