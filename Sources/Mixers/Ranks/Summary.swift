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
    if line.ranks == 1 || numbers.isEmpty { return }
    let cuts = Self.cuts(numbers.count, line)
    let incoming = try unsafe gather(numbers, cuts, on: line)
    for (index, place) in (cuts[line.rank]..<cuts[line.rank + 1]).enumerated() {
      var total = self == .sum ? 0.0 : -Double.infinity
      for piece in incoming {
        let number = Double(piece.bytes.number(at: 4 * index, as: Float.self))
        total = self == .sum ? total + number : max(total, number)
      }
      unsafe numbers[place] = Float(total)
    }
    try unsafe tell(numbers, cuts, on: line)
  }

  /// Combines a tensor of all ranks in place.
  func combine(_ tensor: MixerTensor, on line: RankLine) throws(MPIError) {
    try unsafe combine(tensor.numbers, on: line)
  }

  /// Adds up numbers that are each in two floats, what one holds and the rest: to twice the digits.
  ///
  /// As many bytes and messages as two summaries.
  static func addUp(
    _ tensor: MixerTensor, rest: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    precondition(rest.count == tensor.count, "as many numbers")
    if line.ranks == 1 || tensor.count == 0 { return }
    let cuts = cuts(tensor.count, line)
    let incoming =
      try unsafe sum.gather(tensor.numbers, cuts, on: line)
      + sum.gather(rest.numbers, cuts, on: line)
    for (index, place) in (cuts[line.rank]..<cuts[line.rank + 1]).enumerated() {
      let total = incoming.reduce(0.0) {
        $0 + Double($1.bytes.number(at: 4 * index, as: Float.self))
      }
      unsafe tensor.base[place] = Float(total)
      unsafe rest.base[place] = Float(total - Double(tensor.base[place]))
    }
    try unsafe sum.tell(tensor.numbers, cuts, on: line)
    try unsafe sum.tell(rest.numbers, cuts, on: line)
  }

  /// Where the parts of ranks begin, and the end of the last.
  private static func cuts(_ count: Int, _ line: RankLine) -> [Int] {
    (0...line.ranks).map { count * $0 / line.ranks }
  }

  @unsafe
  private func parts(_ numbers: UnsafeMutableBufferPointer<Float>, _ cuts: [Int]) -> [Piece] {
    (0..<cuts.count - 1).map { rank in
      unsafe Piece(
        unowned: UnsafeMutableRawBufferPointer(
          UnsafeMutableBufferPointer(rebasing: numbers[cuts[rank]..<cuts[rank + 1]])))
    }
  }

  /// This rank's part, of all ranks.
  @unsafe
  private func gather(
    _ numbers: UnsafeMutableBufferPointer<Float>, _ cuts: [Int], on line: RankLine
  ) throws(MPIError) -> [Piece] {
    let own = cuts[line.rank + 1] - cuts[line.rank]
    let incoming = StreamMemory.pieces(
      sizes: (0..<line.ranks).map { _ in own * MemoryLayout<Float>.stride })
    let gathering = PeerExchange("parts of sums")
    try gathering.begin(
      sending: unsafe parts(numbers, cuts), receiving: incoming, tag: Self.tag, on: line.wire)
    try line.wait(for: "parts of sums") { () throws(MPIError) in try gathering.isFinished() }
    return incoming
  }

  /// Tells all ranks this one's part.
  @unsafe
  private func tell(
    _ numbers: UnsafeMutableBufferPointer<Float>, _ cuts: [Int], on line: RankLine
  ) throws(MPIError) {
    let parts = unsafe parts(numbers, cuts)
    let telling = PeerExchange("sums")
    try telling.begin(
      sending: (0..<line.ranks).map { _ in parts[line.rank] }, receiving: parts,
      tag: Self.tag + 1, on: line.wire)
    try line.wait(for: "sums") { () throws(MPIError) in try telling.isFinished() }
  }
}
