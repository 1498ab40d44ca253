import MPI
import SequenceParallel
import Sharding
import Tensors

/// Rows of the tokens before a rank's own or after them, for short convolutions, shifts and
/// windows: of as many ranks as it takes, where shards are shorter than the halo.
///
/// Shards are contiguous. Every rank knows what every other needs, so nobody is told.
struct Halo {
  /// Tokens before the first of a rank, or after its last.
  let width: Int
  /// Whether they are those after the last.
  var isAfter = false

  private static let tag = 8

  /// The rows before this rank's first token, or after its last; zeros outside of the sequence.
  ///
  /// - Parameter tensor: `[batch, tokens, columns]`.
  /// - Returns: `[batch, width, columns]`.
  func rows(of tensor: MixerTensor, on line: RankLine) throws(MPIError) -> MixerTensor {
    let (batch, columns) = (tensor.form.sizes[0], tensor.form.sizes[2])
    let halo = MixerTensor(
      zeros: TensorForm(
        name: "halo", dimensions: ["batch", "width", "columns"], sizes: [batch, width, columns]),
      tokens: 0)
    let parts = Parts(self, batch: batch, columns: columns, line)
    let (outgoing, incoming) = (parts.pieces(ofOwn: true), parts.pieces(ofOwn: false))
    let count = line.tokens
    for (rank, range) in parts.given.enumerated() where !range.isEmpty {
      for sequence in 0..<batch {
        let from =
          unsafe tensor.base
          + (sequence * count + range.lowerBound - parts.start) * columns
        unsafe parts.numbers(outgoing[rank], sequence, range.count).update(
          from: from, count: range.count * columns)
      }
    }
    try exchange(outgoing, incoming, line)
    for (rank, range) in parts.taken.enumerated() where !range.isEmpty {
      for sequence in 0..<batch {
        let to =
          unsafe halo.base
          + (sequence * width + range.lowerBound - parts.origin) * columns
        unsafe to.update(
          from: parts.numbers(incoming[rank], sequence, range.count), count: range.count * columns)
      }
    }
    return halo
  }

  /// Adds the gradients of such rows to those of the tokens that they are of.
  ///
  /// - Parameters:
  ///   - halo: `[batch, width, columns]`.
  ///   - tensor: `[batch, tokens, columns]`.
  func addBack(
    _ halo: MixerTensor, to tensor: MixerTensor, on line: RankLine
  ) throws(MPIError) {
    let (batch, columns) = (tensor.form.sizes[0], tensor.form.sizes[2])
    let parts = Parts(self, batch: batch, columns: columns, line)
    let (outgoing, incoming) = (parts.pieces(ofOwn: false), parts.pieces(ofOwn: true))
    for (rank, range) in parts.taken.enumerated() where !range.isEmpty {
      for sequence in 0..<batch {
        let from =
          unsafe halo.base
          + (sequence * width + range.lowerBound - parts.origin) * columns
        unsafe parts.numbers(outgoing[rank], sequence, range.count).update(
          from: from, count: range.count * columns)
      }
    }
    try exchange(outgoing, incoming, line)
    let count = line.tokens
    for (rank, range) in parts.given.enumerated() where !range.isEmpty {
      for sequence in 0..<batch {
        let to =
          unsafe tensor.base
          + (sequence * count + range.lowerBound - parts.start) * columns
        let from = unsafe parts.numbers(incoming[rank], sequence, range.count)
        for index in 0..<range.count * columns { unsafe to[index] += from[index] }
      }
    }
  }

  private func exchange(
    _ outgoing: [Piece], _ incoming: [Piece], _ line: RankLine
  ) throws(MPIError) {
    let exchange = PeerExchange("halo")
    try exchange.begin(sending: outgoing, receiving: incoming, tag: Self.tag, on: line.wire)
    try line.wait(for: "rows of neighbours") { () throws(MPIError) in try exchange.isFinished() }
  }

  /// Which positions go where.
  private struct Parts {
    /// This rank's first position.
    let start: Int
    /// The position of the first row of its halo.
    let origin: Int
    /// What each rank needs of this one's.
    let given: [Range<Int>]
    /// What this one needs of each.
    let taken: [Range<Int>]
    private let rowBytes: Int
    private let columns: Int

    init(_ rows: Halo, batch: Int, columns: Int, _ line: RankLine) {
      let ranges = line.sharding.shards.map { runs in
        runs.first.map { $0.start..<$0.start + $0.count } ?? 0..<0
      }
      func halo(_ range: Range<Int>) -> Range<Int> {
        if range.isEmpty { return 0..<0 }
        return rows.isAfter
          ? range.upperBound..<min(line.sharding.tokens, range.upperBound + rows.width)
          : max(0, range.lowerBound - rows.width)..<range.lowerBound
      }
      let own = ranges[line.rank]
      start = own.lowerBound
      origin = rows.isAfter ? own.upperBound : start - rows.width
      given = ranges.map { halo($0).clamped(to: own) }
      taken = ranges.map { halo(own).clamped(to: $0) }
      rowBytes = batch * columns * MemoryLayout<Float>.stride
      self.columns = columns
    }

    /// Room for what goes out or comes in.
    func pieces(ofOwn: Bool) -> [Piece] {
      StreamMemory.pieces(sizes: (ofOwn ? given : taken).map { $0.count * rowBytes })
    }

    /// The rows of one sequence in such room.
    @unsafe
    func numbers(
      _ piece: Piece, _ sequence: Int, _ count: Int
    ) -> UnsafeMutablePointer<Float> {
      let floats = unsafe piece.unsafeBytes.bindMemory(to: Float.self)
      guard let base = floats.baseAddress else { preconditionFailure("an empty part") }
      return unsafe base + sequence * count * columns
    }
  }
}
